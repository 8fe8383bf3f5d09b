// What a careful user writes over a plain Redis client: a session is a string that expires, and a zset by user, scored
// by expiry, is the index. The two change together, in a MULTI, so that no session is ever missing from the index.
// What it still does not do: of two updates at once, one loses what the other wrote.

import { inChunks } from "./chunks.js";

const keyOf = (token) => `plain-session:${token}`;
const indexOf = (userId) => `plain-user-sessions:${userId}`;

/**
 * @typedef {object} Commands a client's own way of sending these
 * @property {(key: string) => Promise<string | null>} get
 * @property {(keys: string[]) => Promise<(string | null)[]>} getMany MGET
 * @property {(key: string, value: string) => Promise<unknown>} replace SET XX KEEPTTL
 * @property {(index: string, from: number) => Promise<string[]>} members ZRANGE BYSCORE, `from` to infinity
 * @property {(key: string, value: string, ms: number, index: string, score: number, member: string) => Promise<unknown>} put
 * MULTI: SET PX, ZADD, PEXPIRE of the index. (All sessions live equally long, so the newest one's life is the longest.)
 * @property {(key: string, index: string, member: string) => Promise<unknown>} remove MULTI: DEL, ZREM
 * @property {(keys: string[]) => Promise<unknown>} removeAll DEL
 */

/** @param {Commands} commands */
export function plainPeer(commands) {
	const put = (token, userId, json, expiresAt) =>
		commands.put(keyOf(token), json, expiresAt - Date.now(), indexOf(userId), expiresAt, token);
	const store = {
		read: (token) => commands.get(keyOf(token)),

		create: (session) => put(session.token, session.userId, JSON.stringify(session), session.expiresAt.getTime()),

		async update(token, changes) {
			const record = JSON.parse(await commands.get(keyOf(token)));
			Object.assign(record.session, changes);
			await commands.replace(keyOf(token), JSON.stringify(record));
		},

		/** The token alone does not tell whose index it is in. */
		async end(token) {
			const json = await commands.get(keyOf(token));
			if (json !== null) await commands.remove(keyOf(token), indexOf(JSON.parse(json).session.userId), token);
		},

		async list(userId) {
			const tokens = await commands.members(indexOf(userId), Date.now());
			if (tokens.length === 0) return [];
			const values = await commands.getMany(tokens.map(keyOf));
			return values.filter((json) => json !== null).map((json) => JSON.parse(json).session);
		},

		async endAll(userId) {
			const index = indexOf(userId);
			const tokens = await commands.members(index, 0);
			await commands.removeAll([...tokens.map(keyOf), index]);
		},
	};
	return {
		faces: { store: async () => store },
		fill: (records) =>
			inChunks(records, ({ token, userId, json, session }) => put(token, userId, json, session.expiresAt.getTime())),
	};
}
