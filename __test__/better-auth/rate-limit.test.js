// Better Auth's rate limiting with its counters in secondary storage, which is where it puts them as soon as there is one.

import assert from "node:assert/strict";
import { redisPerFile } from "../support/redis.js";
import { everyVersion } from "./support/every-version.js";
import { keysOf } from "./support/store-contents.js";

const everywhere = everyVersion(redisPerFile());

const MAX = 4;
const WINDOW_S = 60;

/** From 1.6.17 on Better Auth counts with `increment`, which 1.7 calls unbound; before, it reads and writes an object. */
const increments = ({ minor }) => minor >= 6;

/** better-auth#4961: until 1.3.25 the counters have no expiry. */
const isCounter = (name) => name.endsWith("/get-session");
const immortal =
	({ minor }) =>
	(name) =>
		minor === 3 && isCounter(name);

const limited = { options: () => ({ rateLimit: { enabled: true, window: WINDOW_S, max: MAX } }), immortal };

everywhere(
	`rate limit: with a maximum of ${MAX} the next request is refused`,
	async ({ app, version, server }) => {
		const device = app.device();
		for (let i = 0; i < MAX; i++) await device.ok("/get-session");
		const refused = await device.send("/get-session");
		assert.equal(refused.status, 429);
		assert.match(refused.body.message, /Too many requests/);

		const counters = (await app.storage.listKeys()).filter(isCounter);
		assert.equal(counters.length, 1);
		assert.match(counters[0], /^(203\.0\.113\.7|127\.0\.0\.1)\|?\/get-session$/); // 127.0.0.1 with NODE_ENV=test
		const value = JSON.parse(await app.storage.get(counters[0]));
		assert.equal(increments(version) ? value : value.count, increments(version) ? MAX + 1 : MAX);

		const key = server && (await keysOf(server)).find(({ name }) => isCounter(name));
		if (key && !immortal(version)(key.name)) assert.ok(key.ttl > 0 && key.ttl <= WINDOW_S * 1000);
	},
	limited,
);

everywhere(
	"rate limit: each path is counted for itself, and sessions are untouched",
	async ({ app }) => {
		const device = await app.signUp();
		for (let i = 0; i < MAX; i++) assert.equal((await device.whoAmI()).user.name, "ada");
		assert.equal((await device.send("/get-session")).status, 429);
		assert.equal((await device.ok("/list-sessions")).length, 1);
		assert.equal((await app.sessions.getUserSessions(app.userId())).length, 1);
	},
	{
		...limited,
		immortal:
			({ minor }) =>
			(name) =>
				minor === 3 && /\.\d+\//.test(name),
	},
);

everywhere(
	"rate limit: of thirty requests at once no more than the maximum pass",
	async ({ app }) => {
		const requests = Array.from({ length: 30 }, () => app.device().send("/get-session"));
		const statuses = (await Promise.all(requests)).map(({ status }) => status);
		assert.equal(statuses.filter((status) => status === 200).length, MAX);
		assert.equal(statuses.filter((status) => status === 429).length, 30 - MAX);
	},
	{
		...limited,
		lacks: (version) => (increments(version) ? undefined : "it counts by reading and writing, so a burst passes"),
	},
);

everywhere(
	"rate limit: after the window counting starts again",
	async ({ app, server }) => {
		const device = app.device();
		for (let i = 0; i < MAX; i++) await device.ok("/get-session");
		assert.equal((await device.send("/get-session")).status, 429);
		const { name } = (await keysOf(server)).find(({ name }) => isCounter(name));
		assert.equal(await server.cli("PEXPIRE", name, 1), 1);
		while ((await server.cli("EXISTS", name)) === 1);
		await device.ok("/get-session");
	},
	{
		...limited,
		lacks: (version) => (increments(version) ? undefined : "it keeps the window's start in the value"),
		engines: ["Redis"],
	},
);
