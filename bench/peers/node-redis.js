// node-redis: as it comes (it always pipelines what was called in one tick), and with its client-side cache.

import { createClient } from "redis";
import { plainPeer } from "../plain-store.js";

export async function open({ redis, peer }) {
	const client = createClient({ url: redis.url, ...peer.options });
	client.on("error", (error) => console.error(error));
	await client.connect();
	return plainPeer({
		get: (key) => client.get(key),
		getMany: (keys) => client.mGet(keys),
		replace: (key, value) => client.set(key, value, { expiration: "KEEPTTL", condition: "XX" }),
		members: (index, from) => client.zRange(index, from, "+inf", { BY: "SCORE" }),
		put: (key, value, ms, index, score, member) =>
			client
				.multi()
				.set(key, value, { expiration: { type: "PX", value: ms } })
				.zAdd(index, { score, value: member })
				.pExpire(index, ms)
				.exec(),
		remove: (key, index, member) => client.multi().del(key).zRem(index, member).exec(),
		removeAll: (keys) => client.del(keys),
	});
}
