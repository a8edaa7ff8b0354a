// The chunk servers of the resumable.js and flow.js packages, their own code, behind routes as their sample apps have
// them: the apps themselves write into fixed folders and, of flow.js, fall over with Express 4 (a status that is a word).
// Arguments: the folder of node_modules, a folder for the chunks, the port.
const [modules, folder, port] = process.argv.slice(2);
const need = (name) => require(`${modules}/node_modules/${name}`);
const fs = require('fs');
const express = need('express');
const multipart = need('connect-multiparty');

for (const name of ['resumable', 'flow', 'tmp']) fs.mkdirSync(`${folder}/${name}`, { recursive: true });
// Each keeps its settings in `this`, which without `new` is the same global object for both.
const resumable = new (need('resumablejs/samples/Node.js/resumable-node.js'))(`${folder}/resumable/`);
const flow = new (need('@flowjs/flow.js/samples/Node.js/flow-node.js'))(`${folder}/flow`);
const app = express();
app.use(multipart({ uploadDir: `${folder}/tmp` }));

app.post('/resumable', (req, res) => {
  resumable.post(req, (status) => res.status(/^invalid|^non/.test(status) ? 400 : 200).send(String(status)));
});
app.get('/resumable', (req, res) => {
  resumable.get(req, (status) => res.status(status === 'found' ? 200 : 404).send(String(status)));
});
app.get('/resumable/:id', (req, res) => resumable.write(req.params.id, res));

app.post('/flow', (req, res) => {
  flow.post(req, (status) => res.status(/^invalid|^non/.test(status) ? 400 : 200).send(String(status)));
});
app.get('/flow', (req, res) => {
  flow.get(req, (status) => res.status(status === 'found' ? 200 : 204).send());
});
app.get('/flow/:id', (req, res) => flow.write(req.params.id, res));

app.listen(Number(port), '127.0.0.1');
