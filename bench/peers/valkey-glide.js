// valkey-glide, the other client with a native core.

import { Batch, GlideClient, InfBoundary, TimeUnit } from "@valkey/valkey-glide";
import { plainPeer } from "../plain-store.js";

export async function open({ redis }) {
	const client = await GlideClient.createClient({
		addresses: [{ host: redis.host, port: redis.port }],
		// By default it refuses the 1,001st request in flight, and one that took 250 ms: then it could not take part in a burst.
		inflightRequestsLimit: 20_000,
		requestTimeout: 10_000,
	});
	const multi = (batch) => client.exec(batch, true);
	return plainPeer({
		get: (key) => client.get(key),
		getMany: (keys) => client.mget(keys),
		replace: (key, value) => client.set(key, value, { conditionalSet: "onlyIfExists", expiry: "keepExisting" }),
		members: (index, from) =>
			client.zrange(index, { type: "byScore", start: { value: from }, end: InfBoundary.PositiveInfinity }),
		put: (key, value, ms, index, score, member) =>
			multi(
				new Batch(true)
					.set(key, value, { expiry: { type: TimeUnit.Milliseconds, count: ms } })
					.zadd(index, { [member]: score })
					.pexpire(index, ms),
			),
		remove: (key, index, member) => multi(new Batch(true).del([key]).zrem(index, [member])),
		removeAll: (keys) => client.del(keys),
	});
}
