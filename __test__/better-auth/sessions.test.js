// Signing up, in and out; reading, listing, refreshing and revoking sessions: what Better Auth answers, and what lies in
// the store after it.

import assert from "node:assert/strict";
import { redisPerFile } from "../support/redis.js";
import { PASSWORD } from "./support/app.js";
import { everyVersion } from "./support/every-version.js";
import { recall, ttlOf } from "./support/store-contents.js";

const everywhere = everyVersion(redisPerFile());

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const LIFE = 7 * DAY; // Better Auth's default

everywhere("sign-up leaves the session and its user's index, which live as long as the session", async (ground) => {
	const { app, server, keysAre } = ground;
	const device = await app.signUp();
	const { token } = device;
	const userId = app.userId();

	const { session, user } = await device.whoAmI();
	assert.equal(session.token, token);
	assert.equal(session.userId, userId);
	assert.equal(user.email, "ada@example.com");

	await keysAre([token, `active-sessions-${userId}`]);
	const stored = JSON.parse(await app.storage.get(token));
	assert.equal(stored.session.token, token);
	assert.equal(stored.session.userAgent, "test");
	assert.equal(stored.user.name, "ada");
	if (server) assert.ok(Math.abs((await ttlOf(server, token)) - LIFE) < MINUTE);
});

everywhere("the store's own class sees what Better Auth signed in, and ends it", async ({ app, ended }) => {
	const device = await app.signUp();
	const was = await recall(app, device);
	const session = await app.sessions.getSession(device.token);
	assert.equal(session.userId, app.userId());
	assert.ok(session.expiresAt instanceof Date);
	assert.equal(session.expiresAt.toJSON(), (await device.whoAmI()).session.expiresAt);

	await app.sessions.deleteSession(device.token);
	assert.equal(await device.whoAmI(), null);
	assert.ok(!device.holdsCookie);
	await ended(was);
});

everywhere("an unchanged session is not written", async ({ app }) => {
	const device = await app.signUp();
	const before = await app.storage.get(device.token);
	for (let i = 0; i < 3; i++) await device.whoAmI();
	assert.equal(await app.storage.get(device.token), before);
});

everywhere("each device has a session of its own, and all are listed", async ({ app, keysAre }) => {
	const devices = [await app.signUp(), await app.signIn(), await app.signIn()];
	const tokens = devices.map(({ token }) => token);
	assert.equal(new Set(tokens).size, 3);
	const stranger = await app.signUp("eve");

	const sessions = await devices[0].ok("/list-sessions");
	assert.deepEqual(sessions.map(({ token }) => token).sort(), tokens.toSorted());
	assert.deepEqual(
		(await stranger.ok("/list-sessions")).map(({ token }) => token),
		[stranger.token],
	);

	const [ada, eve] = [app.userId("ada"), app.userId("eve")];
	await keysAre([...tokens, stranger.token, `active-sessions-${ada}`, `active-sessions-${eve}`]);
});

everywhere("a wrong password and an unknown user leave nothing", async ({ app, version, keysAre }) => {
	const device = await app.signUp();
	const intruder = app.device();
	const wrong = { email: "ada@example.com", password: "not the password" };
	assert.equal((await intruder.send("/sign-in/email", wrong)).status, 401);
	assert.equal((await intruder.send("/sign-in/email", { ...wrong, email: "eve@example.com" })).status, 401);
	assert.ok(!intruder.holdsCookie);
	const logged = app.errors.splice(0).map(([message]) => message);
	assert.deepEqual(logged, version.minor < 6 ? ["Invalid password", "User not found"] : []);
	await keysAre([device.token, `active-sessions-${app.userId()}`]);
});

everywhere("sign-out ends this session and no other", async ({ app, ended, keysAre }) => {
	const [leaving, staying] = [await app.signUp(), await app.signIn()];
	const [was, stolen] = [await recall(app, leaving), leaving.copy()];
	await leaving.ok("/sign-out", {});
	assert.ok(!leaving.holdsCookie);
	assert.equal(await stolen.whoAmI(), null);
	assert.ok(!stolen.holdsCookie, "the cookie of an ended session is taken back");
	assert.equal((await staying.whoAmI()).session.token, staying.token);
	await keysAre([staying.token, `active-sessions-${app.userId()}`]);
	await ended(was);
});

everywhere("signing out on the last device leaves no index", async ({ app, ended, keysAre }) => {
	const device = await app.signUp();
	const was = await recall(app, device);
	await device.ok("/sign-out", {});
	await keysAre([]);
	await ended(was);
});

everywhere("revoke-session ends the one that is named", async ({ app, ended, keysAre }) => {
	const [device, lost] = [await app.signUp(), await app.signIn()];
	const was = await recall(app, lost);
	await device.ok("/revoke-session", { token: lost.token });
	assert.equal(await lost.whoAmI(), null);
	assert.equal((await device.ok("/list-sessions")).length, 1);
	await keysAre([device.token, `active-sessions-${app.userId()}`]);
	await ended(was);
});

everywhere("revoke-session does not end another user's", async ({ app }) => {
	const [device, stranger] = [await app.signUp(), await app.signUp("eve")];
	await stranger.send("/revoke-session", { token: device.token });
	assert.equal((await device.whoAmI()).user.name, "ada");
});

everywhere("revoke-other-sessions ends all but this one", async ({ app, ended, keysAre }) => {
	const device = await app.signUp();
	const others = [await app.signIn(), await app.signIn(), await app.signIn()];
	const stranger = await app.signUp("eve");
	const were = await Promise.all(others.map((other) => recall(app, other)));

	await device.ok("/revoke-other-sessions", {});
	for (const other of others) assert.equal(await other.whoAmI(), null);
	assert.deepEqual(
		(await device.ok("/list-sessions")).map(({ token }) => token),
		[device.token],
	);
	assert.equal((await stranger.whoAmI()).user.name, "eve");
	const [ada, eve] = [app.userId("ada"), app.userId("eve")];
	await keysAre([device.token, stranger.token, `active-sessions-${ada}`, `active-sessions-${eve}`]);
	await ended(...were);
});

everywhere("revoke-sessions ends all of them, and the user can sign in again", async (ground) => {
	const { app, version, ended, keysAre } = ground;
	const devices = [await app.signUp(), await app.signIn(), await app.signIn()];
	const were = await Promise.all(devices.map((device) => recall(app, device)));

	await devices[1].ok("/revoke-sessions", {});
	for (const device of devices) assert.equal(await device.whoAmI(), null);
	// From 1.7.16 on Better Auth also keeps the time of the revocation.
	const kept = version.minor >= 7 ? [`revoked-sessions-before-${app.userId()}`] : [];
	await keysAre(kept);
	await ended(...were);

	const device = await app.signIn();
	assert.equal((await device.whoAmI()).session.token, device.token);
	assert.equal((await device.ok("/list-sessions")).length, 1);
	await keysAre([...kept, device.token, `active-sessions-${app.userId()}`]);
});

everywhere("a session past its updateAge is refreshed, in the store too", async ({ app, server }) => {
	const device = await app.signUp();
	const { token } = device;
	await grow(app, token, 2 * DAY);
	if (server) assert.ok((await ttlOf(server, token)) <= 5 * DAY);

	const { session, user } = await device.whoAmI();
	assert.equal(session.token, token);
	assert.equal(user.name, "ada");
	assertRefreshed(session);
	const stored = JSON.parse(await app.storage.get(token));
	assertRefreshed(stored.session);
	assert.equal(stored.session.expiresAt, session.expiresAt);
	assert.equal(stored.user.name, "ada");
	if (server) assert.ok((await ttlOf(server, token)) > 6 * DAY);

	// Fresh now: the next look writes nothing.
	const before = await app.storage.get(token);
	await device.whoAmI();
	assert.equal(await app.storage.get(token), before);
});

everywhere("a refresh that comes after the sign-out does not bring the session back", async ({ app, ended }) => {
	const device = await app.signUp();
	await grow(app, device.token, 2 * DAY);
	const [was, stolen] = [await recall(app, device), device.copy()];
	await device.ok("/sign-out", {});
	assert.equal(await stolen.whoAmI(), null);
	await ended(was);
});

everywhere("with rememberMe: false the session lives for a day and is not refreshed", async ({ app, server }) => {
	await app.signUp();
	const device = app.device();
	await device.ok("/sign-in/email", { email: "ada@example.com", password: PASSWORD, rememberMe: false });
	const { session } = await device.whoAmI();
	assert.ok(Math.abs(Date.parse(session.expiresAt) - Date.now() - DAY) < MINUTE);
	if (server) assert.ok(Math.abs((await ttlOf(server, device.token)) - DAY) < MINUTE);

	await grow(app, device.token, DAY / 2);
	const before = await app.storage.get(device.token);
	assert.equal((await device.whoAmI()).user.name, "ada");
	assert.equal(await app.storage.get(device.token), before);
	if (server) assert.ok((await ttlOf(server, device.token)) <= DAY / 2);
});

everywhere(
	"update-session changes this session, also back to what it was, and no other",
	async ({ app }) => {
		const [device, other] = [await app.signUp(), await app.signIn()];
		for (const theme of ["dark", "light", "dark", "light"]) {
			await device.ok("/update-session", { theme });
			assert.equal((await device.whoAmI()).session.theme, theme);
			assert.equal((await app.sessions.getSession(device.token)).theme, theme);
		}
		assert.ok(!(await other.whoAmI()).session.theme);
	},
	{
		options: () => ({ session: { additionalFields: { theme: { type: "string", required: false } } } }),
		lacks: ({ minor }) => (minor < 5 ? "it has no /update-session" : undefined),
	},
);

/** Makes a session older, as if nobody had used it for so long. */
async function grow(app, token, ms) {
	const session = await app.sessions.getSession(token);
	const dates = ["createdAt", "updatedAt", "expiresAt"];
	const earlier = dates.map((name) => [name, new Date(session[name].getTime() - ms)]);
	await app.sessions.updateSession(token, Object.fromEntries(earlier));
}

function assertRefreshed({ createdAt, updatedAt, expiresAt }) {
	assert.ok(Date.now() - Date.parse(createdAt) > DAY, "it is still the old session");
	assert.ok(Date.now() - Date.parse(updatedAt) < MINUTE);
	assert.ok(Math.abs(Date.parse(expiresAt) - Date.now() - LIFE) < MINUTE);
}
