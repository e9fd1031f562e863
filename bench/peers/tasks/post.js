// One HTTP POST for a job, over connections that stay open: what a table trigger asked for.
const http = require("node:http");

const agent = new http.Agent({ keepAlive: true, maxSockets: 50 });
const target = process.env.SINK_URL;

module.exports = (payload) =>
  new Promise((done, failed) => {
    const body = JSON.stringify(payload);
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const request = http.request(target, { method: "POST", agent, headers }, (answer) => {
      answer.resume();
      answer.on("end", () => (answer.statusCode < 300 ? done() : failed(new Error(`status ${answer.statusCode}`))));
      answer.on("error", failed);
    });
    request.on("error", failed);
    request.end(body);
  });
