// The server that http.js loads: answers with the name of the user whose session the request brings, found in the way that
// BENCH_HTTP names.

import { once } from "node:events";
import { createServer } from "node:http";
import { redisStorage as officialStorage } from "@better-auth/redis-storage";
import { fromNodeHeaders } from "better-auth/node";
import { redisStorage } from "better-auth-redis-store";
import { sessionGate } from "better-auth-redis-store/gate";
import { Redis } from "ioredis";
import { openBetterAuth, usersOnly } from "./better-auth.js";
import { LIFE_S } from "./records.js";

const way = process.env.BENCH_HTTP;
const [{ url, records }] = await once(process, "message");
const storage = way === "official" ? officialStorage({ client: new Redis(url) }) : redisStorage(url);
const { auth } = await openBetterAuth({ database: usersOnly(), secondaryStorage: storage });
const gate = way === "gate" ? sessionGate(auth, storage) : undefined;
for (const { token, json } of records) await storage.set(token, json, LIFE_S);

const sessionOf = {
	none: () => ({ user: { name: "nobody" } }),
	gate: (request) => gate(request),
	ours: (request) => auth.api.getSession({ headers: fromNodeHeaders(request.headers) }),
	official: (request) => auth.api.getSession({ headers: fromNodeHeaders(request.headers) }),
}[way];

const server = createServer(async (request, response) => {
	const session = await sessionOf(request);
	response.writeHead(session ? 200 : 401, { "content-type": "text/plain" }).end(session?.user.name);
});
server.listen(0, "127.0.0.1", () => process.send({ port: server.address().port }));
process.on("disconnect", () => process.exit());
