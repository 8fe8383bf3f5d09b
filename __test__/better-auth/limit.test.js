// `maxSessionsPerUser` beside Better Auth's plugins `twoFactor` and `admin`: a password alone ends nobody's session, and an
// administrator who acts as a user takes no place.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { sessionGate } from "better-auth-redis-store/gate";
import { fresh } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";
import { until } from "../support/wait.js";
import { App, PASSWORD } from "./support/app.js";
import { versions } from "./support/versions.js";

const redis = redisPerFile();
const places = {
	memory: () => ({ url: `memory://${fresh("limit")}` }),
	Redis: () => ({ url: redis.url, keyPrefix: `${fresh("limit")}:`, userPrefix: `${fresh("limit")}-users:` }),
};
const everywhere = versions.flatMap((version) => Object.keys(places).map((where) => ({ version, where })));

function openApp(t, version, where, options) {
	const app = new App(version, { ...places[where](), maxSessionsPerUser: 2 }, options);
	t.after(async () => {
		await app.close();
		assert.deepEqual(app.errors, []);
	});
	return app;
}

/** The devices among these that are signed in. */
async function signedIn(devices) {
	const answers = await Promise.all(devices.map((device) => device.whoAmI()));
	return devices.filter((_, at) => answers[at] !== null);
}

/** A user with two factors, and a device that both were given on. */
async function withTwoFactors(app, name) {
	const device = await app.signUp(name);
	const { backupCodes } = await device.ok("/two-factor/enable", { password: PASSWORD });
	assert.equal((await device.whoAmI()).user.twoFactorEnabled, true);
	const byPassword = () => app.signIn(name);
	const byBoth = async () => {
		const other = await byPassword();
		await other.ok("/two-factor/verify-backup-code", { code: backupCodes.pop() });
		return other;
	};
	return { device, byPassword, byBoth };
}

describe("maxSessionsPerUser with two factors", { concurrency: everywhere.length }, () => {
	for (const { version, where } of everywhere) {
		test(`a password alone ends no session, both end the oldest: Better Auth ${version.release} on ${where}`, async (t) => {
			const app = openApp(t, version, where, {
				plugins: [version.plugins.twoFactor({ skipVerificationOnEnable: true })],
			});
			const [ada, bob] = [await withTwoFactors(app, "ada"), await withTwoFactors(app, "bob")];
			const ofBob = [bob.device, await bob.byBoth()];
			for (let n = 0; n < 3; n++) assert.equal((await bob.byPassword()).holdsCookie, false);

			const ofAda = [ada.device, await ada.byBoth(), await ada.byBoth()];
			assert.equal((await signedIn(ofAda)).length, 3, "a sign-in with two factors is answered at once");
			await until("the end of the oldest", async () => (await ada.device.whoAmI()) === null);
			assert.deepEqual(await signedIn(ofAda), ofAda.slice(1));
			assert.equal((await app.sessions.getUserSessions(app.userId("ada"))).length, 2);
			// Bob's passwords came earlier: what they end would have ended by now.
			assert.deepEqual(await signedIn(ofBob), ofBob);
		});
	}
});

describe("maxSessionsPerUser and an administrator who impersonates a user", { concurrency: everywhere.length }, () => {
	for (const { version, where } of everywhere) {
		test(`ends none of the user's sessions and takes no place: Better Auth ${version.release} on ${where}`, async (t) => {
			const app = openApp(t, version, where, { plugins: [version.plugins.admin()] });
			const ofAda = [await app.signUp(), await app.signIn()];
			const root = await app.signUp("root");
			app.db.user.find(({ id }) => id === app.userId("root")).role = "admin";
			const administrator = await app.signIn("root");
			await administrator.ok("/admin/impersonate-user", { userId: app.userId() });
			assert.deepEqual(await signedIn([...ofAda, administrator, root]), [...ofAda, administrator, root]);

			const third = await app.signIn();
			const all = [...ofAda, third, administrator];
			assert.deepEqual(await signedIn(all), all.slice(1));
		});
	}
});

describe("maxSessionsPerUser beside storeSessionInDatabase", () => {
	const message = /^maxSessionsPerUser cannot be combined with Better Auth's session\.storeSessionInDatabase: /;
	const refused = { code: "INVALID_ARGUMENT", message };

	for (const version of versions.filter(({ minor }) => minor >= 4)) {
		test(`a gate refuses the limit where it is made: Better Auth ${version.release}`, async (t) => {
			const app = openApp(t, version, "memory", { session: { storeSessionInDatabase: true } });
			assert.throws(() => sessionGate(app.auth, app.storage), refused);
		});

		test(`a gate refuses it at its first check where a plugin asks for it: Better Auth ${version.release}`, async (t) => {
			const init = () => ({ options: { session: { storeSessionInDatabase: true } } });
			const app = openApp(t, version, "memory", { plugins: [{ id: "both", init }] });
			await assert.rejects(sessionGate(app.auth, app.storage)(new Headers()), refused);
		});
	}

	test("the store's own option storeSessionInDatabase refuses maxSessionsPerUser", () => {
		const options = { url: "memory://", maxSessionsPerUser: 2, storeSessionInDatabase: true };
		for (const make of [redisStorage, (given) => new RedisSessionStore(given)]) {
			assert.throws(() => make(options), {
				code: "INVALID_ARGUMENT",
				message: /^maxSessionsPerUser: cannot be combined with storeSessionInDatabase: true/,
			});
		}
		redisStorage({ ...options, storeSessionInDatabase: false });
	});
});
