// What people do at the same time. Better Auth reads, changes and writes back, so over a plain key-value store sign-ins are lost from the
// list and ended sessions come back (better-auth#11022, #11073). Over this one neither happens, in any release.

import assert from "node:assert/strict";
import { rounds, seeded } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";
import { everyVersion } from "./support/every-version.js";
import { recall } from "./support/store-contents.js";

const everywhere = everyVersion(redisPerFile());
const random = seeded("better-auth concurrency");

const DAY = 86_400_000;
const SIGN_INS = 21;

const tokensOf = (sessions) => sessions.map(({ token }) => token).sort();

everywhere(`${SIGN_INS} sign-ins at once are all listed, and revoke-other-sessions ends the others`, async (ground) => {
	const { app, keysAre, ended } = ground;
	await (await app.signUp()).ok("/sign-out", {});
	const userId = app.userId();
	const devices = await Promise.all(Array.from({ length: SIGN_INS }, () => app.signIn()));
	const tokens = tokensOf(devices);
	assert.equal(new Set(tokens).size, SIGN_INS);
	await keysAre([...tokens, `active-sessions-${userId}`]);

	const [device, ...others] = devices;
	assert.deepEqual(tokensOf(await device.ok("/list-sessions")), tokens);
	assert.deepEqual(tokensOf(await app.sessions.getUserSessions(userId)), tokens);
	const were = await Promise.all(others.map((other) => recall(app, other)));

	await device.ok("/revoke-other-sessions", {});
	assert.deepEqual(await Promise.all(others.map((other) => other.whoAmI())), Array(SIGN_INS - 1).fill(null));
	assert.equal((await device.whoAmI()).session.token, device.token);
	assert.deepEqual(tokensOf(await device.ok("/list-sessions")), [device.token]);
	await keysAre([device.token, `active-sessions-${userId}`]);
	await ended(...were);
});

everywhere("sign-ins during revoke-other-sessions are listed", async ({ app, keysAre }) => {
	const device = await app.signUp();
	const userId = app.userId();
	await Promise.all(Array.from({ length: 5 }, () => app.signIn()));
	const [, ...late] = await Promise.all([
		device.ok("/revoke-other-sessions", {}),
		...Array.from({ length: 5 }, () => app.signIn()),
	]);
	// Whether one of them counts as an other is a matter of moments; that it is listed if it lives, is not.
	const live = [];
	for (const each of [device, ...late]) if (await each.whoAmI()) live.push(each.token);
	assert.ok(live.includes(device.token));
	assert.deepEqual(tokensOf(await device.ok("/list-sessions")), live.sort());
	await keysAre([...live, `active-sessions-${userId}`]);
});

everywhere("a sign-out that races update-user ends the session", async ({ app, ended }) => {
	const staying = await app.signUp();
	const were = [];
	for (let round = 0; round < rounds(50, 1000); round++) {
		const device = await app.signIn();
		const was = await recall(app, device);
		const stolen = device.copy();
		await Promise.all([
			soon(() => device.copy().ok("/sign-out", {})),
			soon(() => staying.ok("/update-user", { name: `Ada ${round}` })),
			soon(() => device.copy().send("/update-user", { image: `https://example.com/${round}` })),
		]);
		assert.equal(await stolen.whoAmI(), null, `it came back in round ${round}`);
		were.push(was);
	}
	await ended(...were.slice(-5));
	assert.deepEqual(tokensOf(await staying.ok("/list-sessions")), [staying.token]);
	assert.equal((await staying.whoAmI()).user.name, `Ada ${rounds(50, 1000) - 1}`);
});

everywhere("a revocation that races a refresh ends the session", async ({ app, ended }) => {
	const staying = await app.signUp();
	const were = [];
	for (let round = 0; round < rounds(30, 500); round++) {
		const device = await app.signIn();
		const then = Date.now() - 2 * DAY;
		const old = { createdAt: new Date(then), updatedAt: new Date(then), expiresAt: new Date(then + 7 * DAY) };
		await app.sessions.updateSession(device.token, old);
		const was = await recall(app, device);
		await Promise.all([
			soon(() => staying.ok("/revoke-session", { token: device.token })),
			soon(() => device.copy().send("/get-session")),
			soon(() => device.copy().send("/get-session")),
		]);
		assert.equal(await device.whoAmI(), null, `it came back in round ${round}`);
		were.push(was);
	}
	await ended(...were.slice(-5));
	assert.deepEqual(tokensOf(await staying.ok("/list-sessions")), [staying.token]);
});

everywhere("revoke-sessions that races refreshes and update-user ends every session", async ({ app, ended }) => {
	await app.signUp();
	for (let round = 0; round < rounds(10, 200); round++) {
		const devices = await Promise.all(Array.from({ length: 4 }, () => app.signIn()));
		const were = await Promise.all(devices.map((device) => recall(app, device)));
		await Promise.all([
			soon(() => devices[0].copy().ok("/revoke-sessions", {})),
			soon(() => devices[1].copy().send("/update-user", { name: `Ada ${round}` })),
			soon(() => devices[2].copy().send("/get-session")),
		]);
		for (const device of devices) assert.equal(await device.whoAmI(), null, `it came back in round ${round}`);
		await ended(...were);
	}
});

everywhere("update-user on all devices at once leaves none that misses the next one", async ({ app }) => {
	const devices = [await app.signUp(), ...(await Promise.all(Array.from({ length: 4 }, () => app.signIn())))];
	for (let round = 0; round < rounds(10, 200); round++) {
		const names = devices.map((_, index) => `Ada ${round}.${index}`);
		await Promise.all(devices.map((device, index) => soon(() => device.ok("/update-user", { name: names[index] }))));
		assert.ok(names.includes(app.db.user[0].name));
		// Which of several changes within one millisecond a device shows is open.
		await devices[0].ok("/update-user", { name: `Ada ${round}` });
		for (const device of devices) assert.equal((await device.whoAmI()).user.name, `Ada ${round}`);
	}
});

/** Begins within the next few turns of the event loop, so that the order in which requests interleave varies. */
async function soon(request) {
	for (let turns = random.below(6); turns > 0; turns--) await new Promise(setImmediate);
	return request();
}
