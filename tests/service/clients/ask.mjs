// Node's two clients: `node ask.mjs URL BODY ROWS` ends with 0 where every answer is the bytes of the file ROWS.
import { createReadStream, readFileSync } from "node:fs";
import http from "node:http";
import { Readable } from "node:stream";

const [url, body, rows] = process.argv.slice(2);
const headers = { "Content-Type": "application/json", Accept: "application/octet-stream" };
const content = readFileSync(body);
const right = readFileSync(rows);

function check(what, status, bytes) {
  if (status !== 200 || !right.equals(bytes)) throw new Error(`${what}: ${status}, ${bytes.length} bytes`);
}

async function fetched(what, given) {
  const answer = await fetch(url, { method: "POST", headers, ...given });
  check(what, answer.status, Buffer.from(await answer.arrayBuffer()));
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
let connections = 0;

function posted(what, more, send) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: "POST", agent, headers: { ...headers, ...more } }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => resolve([answer.statusCode, Buffer.concat(parts)]));
    });
    request.on("error", reject);
    request.on("socket", (socket) => (connections += socket.listenerCount("close") && !request.reusedSocket ? 1 : 0));
    send(request);
  }).then(([status, bytes]) => check(what, status, bytes));
}

for (let k = 0; k < 3; k++) await fetched("fetch", { body: content });
await fetched("fetch in chunks", { body: Readable.toWeb(createReadStream(body)), duplex: "half" });
await Promise.all(Array.from({ length: 16 }, () => fetched("fetch at once", { body: content })));
for (let k = 0; k < 3; k++) await posted("http", { "Content-Length": content.length }, (r) => r.end(content));
await posted("http in chunks", {}, (request) => createReadStream(body).pipe(request));
const expects = { "Content-Length": content.length, Expect: "100-continue" };
await posted("http with Expect", expects, (r) => r.on("continue", () => r.end(content)).flushHeaders());
if (connections !== 1) throw new Error(`${connections} connections where one is kept`);
agent.destroy();
