// The environment variable REDIS_URL: unset, set and invalid, in production and in development.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { runText } from "../support/child.js";
import { SECRETS } from "../support/errors.js";
import { redisPerFile } from "../support/redis.js";

const server = redisPerFile();

describe("the variable REDIS_URL", () => {
	const none = { REDIS_URL: undefined, NODE_ENV: undefined };
	const notice =
		/^\[better-auth-redis-store\] REDIS_URL is not set; sessions are kept in this process's memory and end with it\.\n$/;

	for (const NODE_ENV of ["production", undefined, "", "staging", "Development"]) {
		test(`unset, NODE_ENV=${NODE_ENV}: import and construction work, and the first operation says what to set`, async () => {
			const source = `
			import { RedisSessionStore, redisSessionStore, redisStorage } from "better-auth-redis-store";
			const storage = redisStorage({ keyPrefix: "k:" });
			const store = new RedisSessionStore();
			const told = [];
			for (const call of [
				() => storage.get("key"),
				() => storage.set("key", "value"),
				() => store.getSession("token"),
				() => redisSessionStore.getUserSessions("user"),
				() => redisSessionStore.ping(),
			]) {
				await call().then(() => told.push("resolved"), ({ name, code, message }) => told.push({ name, code, message }));
			}
			try {
				redisStorage({ keyprefix: "k:" });
			} catch ({ code }) {
				told.push(code);
			}
			// The environment may name the server later.
			process.env.REDIS_URL = "memory://later";
			await storage.set("key", "value");
			told.push(await storage.get("key"), (await redisSessionStore.getUserSessions("user")).length);
			console.log(JSON.stringify(told));`;
			const { stdout, stderr, code } = await runText(source, { env: { ...none, NODE_ENV } });
			assert.equal(code, 0, stderr);
			assert.equal(stderr, "");
			const [first, ...others] = JSON.parse(stdout);
			assert.equal(first.name, "SessionStoreError");
			assert.equal(first.code, "INVALID_ARGUMENT");
			assert.match(
				first.message,
				/^url: no Redis server is named; set the environment variable REDIS_URL or the option url .*or url: "memory:\/\/"/,
			);
			assert.deepEqual(others, [first, first, first, first, "INVALID_ARGUMENT", "value", 0]);
		});
	}

	for (const NODE_ENV of ["development", "test"]) {
		test(`unset, NODE_ENV=${NODE_ENV}: many stores use the embedded engine and log it once`, async () => {
			const source = `
				import { RedisSessionStore, redisSessionStore, redisStorage } from "better-auth-redis-store";
				const session = { token: "t", userId: "u", expiresAt: new Date(Date.now() + 60_000) };
				await redisSessionStore.createSession(session);
				for (let n = 0; n < 20; n++) {
					await new RedisSessionStore({}).getSession("t");
					await redisStorage({ keyPrefix: "k" + n + ":" }).set("key", "value");
				}
				const both = [await redisStorage().get("t"), await new RedisSessionStore().getSession("t")];
				console.log(both.every((found) => found !== null));`;
			const { stdout, stderr, code } = await runText(source, { env: { ...none, NODE_ENV } });
			assert.match(stderr, notice);
			assert.deepEqual({ stdout, code }, { stdout: "true\n", code: 0 });
		});
	}

	test("unset: a store that is never used logs nothing, nor does one with memory://", async () => {
		const source = `
			import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
			redisStorage();
			new RedisSessionStore();
			await redisStorage("memory://").set("key", "value");`;
		for (const NODE_ENV of ["production", "development"]) {
			const { stdout, stderr, code } = await runText(source, { env: { ...none, NODE_ENV } });
			assert.deepEqual({ stdout, stderr, code }, { stdout: "", stderr: "", code: 0 });
		}
	});

	test("set: every store without a url uses it, in production and outside", async () => {
		const source = `
			import { redisSessionStore, redisStorage } from "better-auth-redis-store";
			await redisStorage().set("from a child", "value", 60);
			await redisSessionStore.ping();`;
		for (const NODE_ENV of ["production", "development"]) {
			await server.cli("FLUSHALL");
			const { stderr, code } = await runText(source, { env: { NODE_ENV, REDIS_URL: server.url } });
			assert.deepEqual({ stderr, code }, { stderr: "", code: 0 });
			assert.equal(await server.cli("GET", "session:from a child"), "value");
		}
	});

	test("invalid: the first operation rejects, without showing the value", async () => {
		const source = `
			import { redisStorage } from "better-auth-redis-store";
			const storage = redisStorage();
			await storage.get("key").catch(({ code, message }) => console.log(JSON.stringify({ code, message })));`;
		const env = { ...none, REDIS_URL: `http://:${SECRETS.password}@localhost` };
		const { stdout, code } = await runText(source, { env });
		assert.equal(code, 0);
		const error = JSON.parse(stdout);
		assert.equal(error.code, "INVALID_ARGUMENT");
		assert.match(error.message, /^url: is an HTTP address/);
		assert.doesNotMatch(stdout, /HUSH/);
	});
});
