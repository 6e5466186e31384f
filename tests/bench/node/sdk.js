// A service that makes the same three calls for each leaver (list by address, delete, read) with DocuSign's own SDK, and
// answers when the account was read as closed; keeps nothing.
const http = require('http');
const https = require('https');
const docusign = require('docusign-esign');

async function main(task) {
  https.globalAgent = new https.Agent({ keepAlive: true });
  const client = new docusign.ApiClient({ basePath: `https://demo.docusign.net:${task.esign_port}/restapi` });
  client.addDefaultHeader('Authorization', `Bearer ${task.token}`);
  const users = new docusign.UsersApi(client);
  const close = async (email) => {
    const found = await users.list(task.account_id, { email });
    const id = found.users[0].userId;
    await users._delete(task.account_id, { userInfoList: { users: [{ userId: id }] } });
    const after = await users.getInformation(task.account_id, id);
    return after.userStatus.toLowerCase() === 'closed';
  };
  const server = http.createServer(async (request, response) => {
    const answer = (status, said) => response.writeHead(status, { 'content-length': said.length }).end(said);
    try {
      let body = '';
      for await (const piece of request) body += piece;
      answer((await close(JSON.parse(body).email)) ? 200 : 500, '{}');
    } catch (error) {
      answer(500, Buffer.from(String(error)));
    }
  });
  ready(server);
}

begin(main);
