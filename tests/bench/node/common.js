// Comes before each of the other programs.
'use strict';
const dns = require('dns');
const readline = require('readline');

// The names stay real, so that certificates are checked; only the sockets go elsewhere.
const lookup = (name, options, done) =>
  options && options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4);
dns.lookup = (name, options, done) => (typeof options === 'function' ? lookup(name, {}, options) : lookup(name, options, done));

// Runs a program with its task, a line of JSON from standard input, and ends with standard input.
function begin(main) {
  const lines = readline.createInterface({ input: process.stdin });
  lines.once('line', (line) => main(JSON.parse(line)).catch((error) => {
    process.stderr.write(`${error.stack || error}\n`);
    process.exit(1);
  }));
  lines.on('close', () => process.exit(0));
}

// Says where a service can be asked.
function ready(server) {
  server.listen(0, '127.0.0.1', () => process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`));
}
