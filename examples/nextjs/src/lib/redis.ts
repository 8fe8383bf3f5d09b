// The application's own Redis client, for whatever it keeps there beside sessions.

import { Redis } from "ioredis";

const kept = globalThis as { redis?: Redis };

/** One client per process, over hot reloads too. Connects when it is first used, and fails at once while Redis is away. */
export function getRedisClient(): Redis {
	kept.redis ??= connect();
	return kept.redis;
}

function connect(): Redis {
	const redis = new Redis(process.env.REDIS_URL ?? "redis://localhost:6379", {
		lazyConnect: true,
		connectionName: "application",
		commandTimeout: 1000,
		maxRetriesPerRequest: 0,
	});
	redis.on("error", () => {}); // Who asks is told; the session store logs that Redis is away.
	return redis;
}
