// ioredis, in either version: with and without auto-pipelining.

import { plainPeer } from "../plain-store.js";

export async function open({ redis, peer }) {
	const { Redis } = await import(peer.package);
	const client = new Redis({ host: redis.host, port: redis.port, ...peer.options });
	await client.ping();
	return plainPeer({
		get: (key) => client.get(key),
		getMany: (keys) => client.mget(keys),
		replace: (key, value) => client.set(key, value, "KEEPTTL", "XX"),
		members: (index, from) => client.zrange(index, from, "+inf", "BYSCORE"),
		put: (key, value, ms, index, score, member) =>
			client.multi().set(key, value, "PX", ms).zadd(index, score, member).pexpire(index, ms).exec(),
		remove: (key, index, member) => client.multi().del(key).zrem(index, member).exec(),
		removeAll: (keys) => client.del(keys),
	});
}
