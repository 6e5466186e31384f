// Comes before each of the other programs. The names stay real, so that certificates are checked; only the sockets go
// elsewhere.
'use strict';
const dns = require('dns');
const lookup = (name, options, done) =>
  options && options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4);
dns.lookup = (name, options, done) => (typeof options === 'function' ? lookup(name, {}, options) : lookup(name, options, done));
