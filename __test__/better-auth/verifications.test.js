// Verification values: what a link or a code in a mail stands for. From 1.5 on they lie in secondary storage; each may be
// used once.

import assert from "node:assert/strict";
import { redisPerFile } from "../support/redis.js";
import { everyVersion } from "./support/every-version.js";
import { keysOf, recall } from "./support/store-contents.js";

const everywhere = everyVersion(redisPerFile());

const HOUR = 3_600_000;
const NEW_PASSWORD = "a new horse, a new battery";

/** The tokens that were mailed, by application. */
const mailed = [];

const mailing = {
	options: () => ({
		emailAndPassword: {
			sendResetPassword: async ({ token }) => void mailed.push(token),
			revokeSessionsOnPasswordReset: true,
		},
	}),
};

const inSecondaryStorage = ({ minor }) => minor >= 5;
const before15 = (version) => (inSecondaryStorage(version) ? undefined : "it keeps verifications in the database");

async function requestReset(device) {
	await device.ok("/request-password-reset", { email: "ada@example.com", redirectTo: "/reset" });
	return mailed.pop();
}

everywhere(
	"a password reset: the mailed token works once, and ends every session",
	async ({ app, version, server, keysAre, ended }) => {
		const device = await app.signUp();
		const userId = app.userId();
		const was = await recall(app, device);
		const visitor = app.device();
		const token = await requestReset(visitor);

		const key = `verification:reset-password:${token}`;
		if (inSecondaryStorage(version)) {
			assert.equal(JSON.parse(await app.storage.get(key)).value, userId);
			assert.deepEqual(app.db.verification, []);
			await keysAre([key, device.token, `active-sessions-${userId}`]);
		} else {
			assert.equal(await app.storage.get(key), null);
			assert.equal(app.db.verification.length, 1);
			await keysAre([device.token, `active-sessions-${userId}`]);
		}
		if (server) {
			const verifications = (await keysOf(server)).filter(({ name }) => name.includes("verification:"));
			for (const { ttl } of verifications) assert.ok(ttl > HOUR - 60_000 && ttl <= HOUR, `lives for ${ttl} ms`);
		}

		await visitor.ok("/reset-password", { token, newPassword: NEW_PASSWORD });
		assert.equal(await app.storage.get(key), null);
		assert.deepEqual(app.db.verification, []);
		assert.equal(await device.whoAmI(), null);
		await ended(was);

		const again = await visitor.send("/reset-password", { token, newPassword: "another password" });
		assert.equal(again.status, 400);
		await app.signIn("ada", NEW_PASSWORD);
	},
	mailing,
);

everywhere(
	"an invented reset token is refused",
	async ({ app }) => {
		await app.signUp();
		const visitor = app.device();
		await requestReset(visitor);
		const answer = await visitor.send("/reset-password", { token: "guessed", newPassword: NEW_PASSWORD });
		assert.equal(answer.status, 400);
	},
	mailing,
);

everywhere(
	"of ten uses of one reset token at once, one succeeds",
	async ({ app }) => {
		await app.signUp();
		const token = await requestReset(app.device());
		const uses = Array.from({ length: 10 }, (_, i) =>
			app.device().send("/reset-password", { token, newPassword: `${NEW_PASSWORD} ${i}` }),
		);
		const statuses = (await Promise.all(uses)).map(({ status }) => status);
		assert.deepEqual(statuses.sort(), [200, ...Array(9).fill(400)]);
	},
	{
		...mailing,
		// 1.6.11 began to take a verification by getAndDelete.
		lacks: ({ minor }) => (minor < 6 ? "it reads and deletes a verification in two steps" : undefined),
	},
);

/** One-time passwords, mailed. Their key is the user's address, so it is used again at every sign-in. */
const codes = [];
const withCodes = {
	lacks: before15,
	options: ({ plugins }) => ({
		plugins: [plugins.emailOTP({ sendVerificationOTP: async ({ otp }) => void codes.push(otp) })],
	}),
};

async function requestCode(device) {
	await device.ok("/email-otp/send-verification-otp", { email: "ada@example.com", type: "sign-in" });
	return codes.pop();
}

everywhere(
	"a key that was used up can be used again: one sign-in code after the other",
	async ({ app, server, keysAre }) => {
		const tokens = [];
		const key = "verification:sign-in-otp-ada@example.com";
		for (let i = 0; i < 3; i++) {
			const device = app.device();
			const otp = await requestCode(device);
			assert.notEqual(await app.storage.get(key), null);
			await device.ok("/sign-in/email-otp", { email: "ada@example.com", otp });
			assert.equal(await app.storage.get(key), null);
			assert.equal((await device.whoAmI()).user.email, "ada@example.com");
			tokens.push(device.token);

			const replay = await app.device().send("/sign-in/email-otp", { email: "ada@example.com", otp });
			assert.equal(replay.status, 400);
		}
		const [{ id }] = app.db.user;
		await keysAre([...tokens, `active-sessions-${id}`]);
		if (server) assert.ok(!(await keysOf(server)).some(({ name, ttl }) => name.includes("otp") && ttl === -1));
	},
	withCodes,
);

everywhere(
	"a wrong code does not sign in, and the right one still does",
	async ({ app }) => {
		const device = app.device();
		const otp = await requestCode(device);
		const wrong = otp === "000000" ? "111111" : "000000";
		assert.equal((await device.send("/sign-in/email-otp", { email: "ada@example.com", otp: wrong })).status, 400);
		assert.ok(!device.holdsCookie);
		await device.ok("/sign-in/email-otp", { email: "ada@example.com", otp });
		assert.equal((await device.whoAmI()).user.email, "ada@example.com");
	},
	withCodes,
);
