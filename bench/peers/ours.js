// This package, as it is built: dist/ over the addon.

import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { sessionGate } from "better-auth-redis-store/gate";
import { inChunks } from "../chunks.js";
import { rows } from "../sign-in.js";

export async function open({ redis, peer }) {
	const options = { url: redis.url, ...peer.options };
	const storage = redisStorage(options);
	const sessions = new RedisSessionStore(options);
	await sessions.ping();
	const store = {
		// As with every peer, what is read is the record's text.
		read: (token) => storage.get(token),
		create: (session) => sessions.createSession(session),
		update: (token, changes) => sessions.updateSession(token, changes),
		end: (token) => sessions.deleteSession(token),
		list: (userId) => sessions.getUserSessions(userId),
		endAll: (userId) => sessions.deleteUserSessions(userId),
	};
	const open = async () => {
		const { openBetterAuth, usersOnly } = await import("../better-auth.js");
		return openBetterAuth({ database: usersOnly(), secondaryStorage: storage });
	};
	const openLooking = async () => {
		const { auth, face } = await open();
		sessionGate(auth, storage);
		return face;
	};
	return {
		faces: {
			store: async () => store,
			storage: async () => storage,
			betterAuth: async () => (await open()).face,
			betterAuthLooking: openLooking,
			storageLooking: async () => redisStorage({ ...options, loadUser: (userId) => rows.get(userId) }),
			check: async () => ({ check: sessionGate((await open()).auth, storage) }),
		},
		fill: (records) => inChunks(records, ({ token, json, ttl }) => storage.set(token, json, ttl)),
	};
}
