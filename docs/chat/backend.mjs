// The backend of a chat with Switchboard, on nothing but Node: who somebody is, and what is said to whom.
import { createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const { PORT = "3000", SWITCHBOARD = "http://127.0.0.1:8080", API = "http://127.0.0.1:8081" } = process.env;
const { JWT_SECRET_FILE = "jwt-secret", API_KEY_FILE = "api-keys" } = process.env;
const { CENTRIFUGE = "node_modules/centrifuge/dist/centrifuge.js" } = process.env;
const secret = (await readFile(JWT_SECRET_FILE, "utf8")).trim();
const key = (await readFile(API_KEY_FILE, "utf8")).trim();
const ROOM = ["ann", "bob", "cat"];

/** A token that says who somebody is, for ten minutes. */
function token(user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { sub: user, exp: Math.floor(Date.now() / 1000) + 600 };
  const message = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${message}.${createHmac("sha256", secret).update(message).digest("base64url")}`;
}

/** Pushes to everybody in the room, at one server after the other until one has it in each log. */
async function push(text, id) {
  for (const api of API.split(",")) {
    const request = fetch(`${api}/v1/push?durable=true`, {
      method: "POST",
      headers: { "Authorization": `Bearer ${key}`, "Idempotency-Key": id },
      body: JSON.stringify({ users: ROOM, text }),
    });
    const answer = await request.catch(() => null);
    const logged = answer?.ok ? (await answer.json()).logged : {};
    if (ROOM.every((user) => logged[user] && !["unknown", "refused"].includes(logged[user]))) return true;
  }
  return false;
}

async function answer({ method, url }, body) {
  const { pathname } = new URL(url, "http://here");
  switch (`${method} ${pathname}`) {
    case "GET /": return [200, "text/html", await readFile(new URL("chat.html", import.meta.url))];
    case "GET /centrifuge.js": return [200, "text/javascript", await readFile(CENTRIFUGE)];
    case "GET /config": return [200, "application/json", JSON.stringify({ switchboard: SWITCHBOARD })];
    // A real one asks who has logged in, and does not believe what the page says.
    case "POST /token": return ROOM.includes(body.user) ? [200, "text/plain", token(body.user)] : [403, "text/plain", ""];
    case "POST /say": {
      const text = JSON.stringify({ user: body.user, text: body.text });
      return [await push(text, body.id) ? 200 : 503, "text/plain", ""];
    }
    default: return [404, "text/plain", "not found"];
  }
}

createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  const wrong = () => [400, "text/plain", "wrong"]; // a body is anybody's, and ends nothing but its request
  const [status, type, content] = await (async () => answer(request, body && JSON.parse(body)))().catch(wrong);
  response.writeHead(status, { "Content-Type": type }).end(content);
}).listen(Number(PORT), "127.0.0.1", () => console.log(`the chat is at http://127.0.0.1:${PORT}/?user=ann`));
