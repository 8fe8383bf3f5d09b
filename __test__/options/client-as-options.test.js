// A client of another package in place of options is refused in one sentence that says what to give.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { Cluster, Redis } from "ioredis";
import { Redis as Redis6 } from "ioredis-6";
import { createClient, createCluster } from "redis";
import { SECRETS } from "../support/errors.js";

const nodes = [{ host: "127.0.0.1", port: 1 }];
const { password } = SECRETS;
const clients = {
	"ioredis 5": new Redis({ lazyConnect: true, password }),
	"ioredis 6": new Redis6({ lazyConnect: true, password }),
	"ioredis' cluster": new Cluster(nodes, { lazyConnect: true }),
	"node-redis": createClient({ password }),
	"node-redis' cluster": createCluster({ rootNodes: [{ url: "redis://127.0.0.1:1" }] }),
};

for (const [name, client] of Object.entries(clients)) {
	test(`a client of ${name} in place of options is refused with advice`, () => {
		for (const [options, at] of [
			[client, "options"],
			[{ client, keyPrefix: "app:" }, "client"],
			[{ redis: client }, "redis"],
		]) {
			for (const make of [redisStorage, (options) => new RedisSessionStore(options)]) {
				assert.throws(() => make(options), {
					code: "INVALID_ARGUMENT",
					message: `${at}: a Redis client cannot be used, the store has a connection of its own; give it the same server, for example "redis://localhost:6379" or { host, port, password } (docs/options-from-ioredis.md)`,
				});
			}
		}
	});
}

test("an object that is no client is refused by its unknown option", () => {
	assert.throws(() => redisStorage({ url: "redis://localhost", client: {} }), {
		code: "INVALID_ARGUMENT",
		message: /^unknown option "client"/,
	});
});
