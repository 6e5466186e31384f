// The same three calls for each leaver (list by address, delete, read) with DocuSign's own SDK; keeps nothing.
// Reads its task as JSON from standard input, writes {"closed", "seconds"} to standard output.
const crypto = require('crypto');
const https = require('https');
const docusign = require('docusign-esign');

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function mint(task, agent) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: task.integration_key, sub: task.user_id, aud: 'account-d.docusign.com', iat: now, exp: now + 3600, scope: 'signature impersonation' };
  const text = `${encode({ alg: 'RS256', typ: 'JWT' })}.${encode(claims)}`;
  const assertion = `${text}.${crypto.sign('RSA-SHA256', Buffer.from(text), task.private_key).toString('base64url')}`;
  const body = `grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=${assertion}`;
  const options = { host: 'account-d.docusign.com', port: task.account_port, path: '/oauth/token', method: 'POST', agent,
    headers: { 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length } };
  return new Promise((resolve, reject) => {
    const request = https.request(options, (answer) => {
      let said = '';
      answer.on('data', (piece) => { said += piece; });
      answer.on('end', () => (answer.statusCode === 200 ? resolve(JSON.parse(said).access_token) : reject(new Error(said))));
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function main() {
  const task = JSON.parse(require('fs').readFileSync(0, 'utf8'));
  https.globalAgent = new https.Agent({ keepAlive: true, maxSockets: task.at_once });
  const token = await mint(task, https.globalAgent);
  const client = new docusign.ApiClient({ basePath: `https://demo.docusign.net:${task.esign_port}/restapi` });
  client.addDefaultHeader('Authorization', `Bearer ${token}`);
  const users = new docusign.UsersApi(client);
  let next = 0;
  let closed = 0;
  const worker = async () => {
    while (next < task.count) {
      const email = `${task.prefix}${next++}@acme.example`;
      const found = await users.list(task.account_id, { email });
      const id = found.users[0].userId;
      await users._delete(task.account_id, { userInfoList: { users: [{ userId: id }] } });
      const after = await users.getInformation(task.account_id, id);
      if (after.userStatus.toLowerCase() === 'closed') closed += 1;
    }
  };
  const started = process.hrtime.bigint();
  await Promise.all(Array.from({ length: task.at_once }, worker));
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  process.stdout.write(JSON.stringify({ closed, seconds }));
}

main().catch((error) => {
  process.stderr.write(`${error.stack || error}\n`);
  process.exit(1);
});
