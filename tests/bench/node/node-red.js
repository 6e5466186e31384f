// The same three calls for each leaver as nodes of a Node-RED flow, behind an HTTP-in node; keeps nothing.
const fs = require('fs');
const http = require('http');
const path = require('path');
const RED = require('node-red');

function flow(task) {
  const users = `https://demo.docusign.net:${task.esign_port}/restapi/v2.1/accounts/${task.account_id}/users`;
  const headers = `{ authorization: 'Bearer ${task.token}', 'content-type': 'application/json' }`;
  const code = [
    `msg.method = 'GET'; msg.headers = ${headers};
     msg.url = '${users}?email=' + encodeURIComponent(msg.payload.email); msg.payload = ''; return msg;`,
    `msg.userId = msg.payload.users[0].userId; msg.method = 'DELETE'; msg.headers = ${headers};
     msg.url = '${users}'; msg.payload = { users: [{ userId: msg.userId }] }; return msg;`,
    `msg.method = 'GET'; msg.headers = ${headers}; msg.url = '${users}/' + msg.userId; msg.payload = ''; return msg;`,
  ];
  const nodes = [{ id: 'tab', type: 'tab', label: 'leaver' },
    { id: 'in', type: 'http in', z: 'tab', url: '/leaver', method: 'post', wires: [['make0']] }];
  code.forEach((func, step) => {
    const next = step + 1 < code.length ? `make${step + 1}` : 'judge';
    nodes.push({ id: `make${step}`, type: 'function', z: 'tab', func, outputs: 1, wires: [[`ask${step}`]] });
    nodes.push({ id: `ask${step}`, type: 'http request', z: 'tab', method: 'use', ret: 'obj', paytoqs: 'ignore', url: '',
      persist: true, senderr: false, headers: [], wires: [[next]] });
  });
  nodes.push({ id: 'judge', type: 'function', z: 'tab', outputs: 1, wires: [['out']],
    func: `msg.headers = {}; msg.statusCode = String(msg.payload.userStatus).toLowerCase() === 'closed' ? 200 : 500;
           msg.payload = {}; return msg;` });
  nodes.push({ id: 'out', type: 'http response', z: 'tab', wires: [] });
  return nodes;
}

async function main(task) {
  const server = http.createServer();
  const settings = { userDir: task.folder, flowFile: 'flows.json', httpAdminRoot: false, httpNodeRoot: '/',
    logging: { console: { level: 'fatal' } }, telemetry: { enabled: false, updateNotification: false } };
  fs.writeFileSync(path.join(task.folder, 'flows.json'), JSON.stringify(flow(task)));
  RED.init(server, settings);
  server.on('request', RED.httpNode);
  RED.runtime.events.on('flows:started', () => ready(server));
  await RED.start();
}

begin(main);
