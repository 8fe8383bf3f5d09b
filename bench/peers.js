// Who is measured. A peer's file exports `open(settings)`, which connects and resolves to a `Peer`.

/**
 * @typedef {object} Peer
 * @property {Record<string, () => Promise<object>>} faces how it can be worked with: `store`, its own session operations (`read
 * create update end list endAll`); `betterAuth`, the same operations through Better Auth's internal adapter; `storage`,
 * Better Auth's secondaryStorage; `check`, a whole session check from a request's headers; `betterAuthLooking` and `storageLooking`,
 * the same where what is written is compared with the user's row
 * @property {(records: object[]) => Promise<void>} fill puts records in as if it had made them, untimed
 * @property {() => Promise<void>} [clear] removes every session, where that is not done by a FLUSHALL of Redis
 */

/**
 * What answers from memory makes no reads of Redis: the figures that are for reads over the wire leave it out.
 * Peers with the same `layout` keep their records in the same keys: it is enough that one of them puts them in.
 */
export const peers = [
	{
		id: "ours",
		title: "better-auth-redis-store",
		file: "ours.js",
		faces: ["store", "betterAuth", "storage", "check", "betterAuthLooking", "storageLooking"],
		options: { nearCache: false },
	},
	{
		id: "ours-near",
		title: "better-auth-redis-store, near cache",
		file: "ours.js",
		faces: ["store", "betterAuth", "storage", "check"],
		options: {},
		answersFromMemory: true,
	},
	{
		id: "ioredis",
		title: "ioredis",
		file: "ioredis.js",
		faces: ["store"],
		package: "ioredis-6",
		options: {},
		layout: "plain",
	},
	{
		id: "ioredis-auto",
		title: "ioredis, auto-pipelining",
		file: "ioredis.js",
		faces: ["store"],
		package: "ioredis-6",
		options: { enableAutoPipelining: true },
		layout: "plain",
	},
	{
		// The version that @better-auth/redis-storage asks for, so the one that most of its users have.
		id: "ioredis5-auto",
		title: "ioredis 5, auto-pipelining",
		file: "ioredis.js",
		faces: ["store"],
		package: "ioredis",
		options: { enableAutoPipelining: true },
		layout: "plain",
	},
	{
		id: "node-redis",
		title: "node-redis",
		file: "node-redis.js",
		faces: ["store"],
		package: "redis",
		options: {},
		layout: "plain",
	},
	{
		id: "node-redis-cache",
		title: "node-redis, client-side cache",
		file: "node-redis.js",
		faces: ["store"],
		package: "redis",
		options: { RESP: 3, clientSideCache: { ttl: 0, maxEntries: 0 } },
		layout: "plain",
		answersFromMemory: true,
	},
	{
		id: "glide",
		title: "valkey-glide",
		file: "valkey-glide.js",
		faces: ["store"],
		package: "@valkey/valkey-glide",
		layout: "plain",
	},
	{
		id: "official",
		title: "@better-auth/redis-storage",
		file: "official.js",
		faces: ["store", "betterAuth", "storage", "check"],
		package: "@better-auth/redis-storage",
	},
	{
		id: "postgres",
		title: "PostgreSQL through Better Auth",
		file: "postgres.js",
		faces: ["betterAuth", "check"],
		package: "pg",
		needsPostgres: true,
	},
];

export function offers(peer, workload) {
	return peer.faces.includes(workload.face);
}
