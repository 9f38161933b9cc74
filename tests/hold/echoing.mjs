// echoing.py's application, by Node's http server: node echoing.mjs PORT
import http from "node:http";

let number = 0;
const hex = (text) => Buffer.from(text, "latin1").toString("hex") || "-";

http
  .createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString("hex") || "-";
      const saw = `${number++} ${hex(request.method)} ${hex(request.url)} ${body}`;
      response.writeHead(200, { "X-Saw": saw, "Cache-Control": "no-store", "Content-Length": 2 });
      response.end("ok");
    });
  })
  .listen(Number(process.argv[2]), "127.0.0.1");
