// Better Auth's own Redis storage, on ioredis with its defaults as its documentation shows it. It is a key-value
// storage: it reads a record by itself, and everything else is what Better Auth's internal adapter does over it.

import { redisStorage } from "@better-auth/redis-storage";
import { Redis } from "ioredis";
import { inChunks } from "../chunks.js";

export async function open({ redis }) {
	const client = new Redis({ host: redis.host, port: redis.port });
	await client.ping();
	const storage = redisStorage({ client });

	let opening;
	const open = () => {
		opening ??= import("../better-auth.js").then(({ openBetterAuth, usersOnly }) =>
			openBetterAuth({ database: usersOnly(), secondaryStorage: storage }),
		);
		return opening;
	};
	const betterAuth = () => open().then(({ face }) => face);
	return {
		faces: {
			// Better Auth is loaded by the first operation that is not a read, so that the memory told for reads is without it.
			store: async () => ({
				read: (token) => storage.get(token),
				create: async (session) => (await betterAuth()).create(session),
				update: async (token, changes) => (await betterAuth()).update(token, changes),
				end: async (token) => (await betterAuth()).end(token),
				list: async (userId) => (await betterAuth()).list(userId),
				endAll: async (userId) => (await betterAuth()).endAll(userId),
			}),
			storage: async () => storage,
			betterAuth,
			check: async () => {
				const { auth } = await open();
				return { check: (headers) => auth.api.getSession({ headers }) };
			},
		},
		fill: (records) => fill(storage, records),
	};
}

/** Records, and each user's list of them as Better Auth keeps it. */
async function fill(storage, records) {
	await inChunks(records, ({ token, json, ttl }) => storage.set(token, json, ttl));
	const lists = new Map();
	for (const { token, userId, session } of records) {
		if (!lists.has(userId)) lists.set(userId, []);
		lists.get(userId).push({ token, expiresAt: session.expiresAt.getTime() });
	}
	await inChunks([...lists], ([userId, list]) =>
		storage.set(`active-sessions-${userId}`, JSON.stringify(list), records[0].ttl),
	);
}
