// Sessions in both places: `storeSessionInDatabase` writes each of them to the database too, `preserveSessionInDatabase`
// keeps the row there after the session has ended.

import assert from "node:assert/strict";
import { redisPerFile } from "../support/redis.js";
import { everyVersion } from "./support/every-version.js";
import { recall } from "./support/store-contents.js";

const everywhere = everyVersion(redisPerFile());

const inBoth = { options: () => ({ session: { storeSessionInDatabase: true } }) };
const preserved = { options: () => ({ session: { storeSessionInDatabase: true, preserveSessionInDatabase: true } }) };

const rowOf = (app, token) => app.db.session.find((row) => row.token === token);
const isOver = (row) => row.expiresAt.getTime() <= Date.now();

everywhere(
	"storeSessionInDatabase: a session is in both and ends in both",
	async ({ app, keysAre, ended }) => {
		const [device, lost, other] = [await app.signUp(), await app.signIn(), await app.signIn()];
		const userId = app.userId();
		assert.equal(app.db.session.length, 3);
		assert.equal(rowOf(app, device.token).userId, userId);
		await keysAre([device.token, lost.token, other.token, `active-sessions-${userId}`]);
		assert.equal((await device.ok("/list-sessions")).length, 3);

		const were = [await recall(app, lost), await recall(app, other)];
		await device.ok("/revoke-session", { token: lost.token });
		assert.equal(await lost.whoAmI(), null);
		await other.ok("/sign-out", {});
		assert.deepEqual(
			app.db.session.map(({ token }) => token),
			[device.token],
		);
		assert.equal((await device.ok("/list-sessions")).length, 1);
		await keysAre([device.token, `active-sessions-${userId}`]);
		await ended(...were);
	},
	inBoth,
);

everywhere(
	"storeSessionInDatabase: revoke-sessions ends all sessions in both",
	async ({ app, ended }) => {
		const devices = [await app.signUp(), await app.signIn(), await app.signIn()];
		const were = await Promise.all(devices.map((device) => recall(app, device)));
		await devices[0].ok("/revoke-sessions", {});
		assert.deepEqual(app.db.session, []);
		for (const device of devices) assert.equal(await device.whoAmI(), null);
		await ended(...were);
	},
	inBoth,
);

everywhere(
	"storeSessionInDatabase: a session that the store has lost is found in the database",
	async ({ app, server }) => {
		const device = await app.signUp();
		await server.cli("FLUSHALL");
		assert.equal((await device.whoAmI()).user.name, "ada");
		await device.ok("/sign-out", {});
		assert.deepEqual(app.db.session, []);
		assert.equal(await device.copy().whoAmI(), null);
	},
	{ ...inBoth, engines: ["Redis"] },
);

everywhere(
	"without storeSessionInDatabase a session that the store has lost is over",
	async ({ app, server }) => {
		const device = await app.signUp();
		assert.deepEqual(app.db.session, []);
		await server.cli("FLUSHALL");
		assert.equal(await device.whoAmI(), null);
		assert.ok(!device.holdsCookie);
	},
	{ engines: ["Redis"] },
);

everywhere(
	"preserveSessionInDatabase: the row stays, the session does not (before 1.5 Better Auth takes the row for the session)",
	async ({ app, version, keysAre, ended }) => {
		const [device, lost] = [await app.signUp(), await app.signIn()];
		const userId = app.userId();
		const was = await recall(app, lost);
		await device.ok("/revoke-session", { token: lost.token });

		assert.equal(app.db.session.length, 2);
		// better-auth#5144: these releases fall back to the row.
		if (version.minor < 5) assert.equal((await lost.whoAmI()).user.name, "ada");
		else assert.equal(await lost.whoAmI(), null);
		assert.equal(isOver(rowOf(app, was.token)), version.minor >= 7, "1.7 marks the row as ended");
		assert.ok(!isOver(rowOf(app, device.token)));
		assert.equal((await device.ok("/list-sessions")).length, 1);
		await keysAre([device.token, `active-sessions-${userId}`]);
		await ended(was);
	},
	preserved,
);

everywhere(
	"preserveSessionInDatabase: revoke-sessions leaves every row",
	async ({ app, version, ended }) => {
		const devices = [await app.signUp(), await app.signIn(), await app.signIn()];
		const were = await Promise.all(devices.map((device) => recall(app, device)));
		await devices[1].ok("/revoke-sessions", {});
		assert.equal(app.db.session.length, 3);
		assert.equal(app.db.session.every(isOver), version.minor >= 7);
		for (const device of devices) {
			if (version.minor < 5) assert.equal((await device.whoAmI()).user.name, "ada");
			else assert.equal(await device.whoAmI(), null);
		}
		await ended(...were);
	},
	preserved,
);
