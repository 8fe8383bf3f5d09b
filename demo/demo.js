/**
 * Real Better Auth over the store: people sign in on several devices, look at their sessions and end them.
 *
 * Runs on the embedded engine, or on Redis when REDIS_URL is set. Users live in Better Auth's memory adapter.
 */
import assert from "node:assert/strict";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";

const url = process.env.REDIS_URL || "memory://";
// A prefix of its own, so that the demo sees only its own keys on a Redis that others use.
const options = { url, keyPrefix: "demo-session:", userPrefix: "demo-user-sessions:" };
const storage = redisStorage(options);
const sessions = new RedisSessionStore(options);

const tables = { user: [], session: [], account: [], verification: [] };
const auth = betterAuth({
	baseURL: "http://localhost:3000",
	secret: "a secret for this demo only, never for an application",
	database: memoryAdapter(tables),
	secondaryStorage: storage,
	emailAndPassword: {
		enabled: true,
		// The demo is about sessions: a quick hash in place of scrypt lets forty people in at once.
		password: {
			hash: async (password) => `plain:${password}`,
			verify: async ({ hash, password }) => hash === `plain:${password}`,
		},
	},
});

const email = "user@example.com";
const password = "correct horse battery staple";

let step = 0;
function say(text) {
	step += 1;
	console.log(`\n${String(step).padStart(2)}. ${text}`);
}
const tell = (text) => console.log(`    ${text}`);

/** Signs in on a device and gives what its browser would keep: the headers with the cookie. */
async function signIn(device) {
	const { headers } = await auth.api.signInEmail({
		body: { email, password },
		headers: new Headers({ "user-agent": device }),
		returnHeaders: true,
	});
	const cookie = headers
		.getSetCookie()
		.map((line) => line.split(";")[0])
		.join("; ");
	return new Headers({ cookie, "user-agent": device });
}

const tokenOf = async (headers) => (await auth.api.getSession({ headers }))?.session.token;

/** what lies in the store, by key: kind, life, and on which device. */
async function showStore(userId) {
	for (const key of await storage.listKeys()) {
		if (key.startsWith("active-sessions-")) continue;
		const session = await sessions.getSession(key);
		const life = session ? `${Math.round((session.expiresAt - Date.now()) / 1000)} s to live` : "";
		tell(
			`string  demo-session:${key.slice(0, 6)}…  ${session ? `session on ${session.userAgent}, ${life}` : "other value"}`,
		);
	}
	const listed = (await sessions.getUserSessions(userId)).length;
	tell(`zset    demo-user-sessions:${userId.slice(0, 6)}…  the user's index, ${listed} live`);
}

console.log(`Better Auth over better-auth-redis-store, on ${url === "memory://" ? "the embedded engine" : "Redis"}.`);
await storage.clear();

say("A user signs up.");
const { user } = await auth.api.signUpEmail({ body: { name: "A user", email, password } });
await sessions.deleteUserSessions(user.id);
tell("The account is in the database; the session of the sign-up is ended again.");

say("The user signs in on three devices.");
const [laptop, phone, tablet] = [await signIn("laptop"), await signIn("phone"), await signIn("tablet")];
const devices = await auth.api.listSessions({ headers: laptop });
tell(`Better Auth lists: ${devices.map((session) => session.userAgent).join(", ")}`);
assert.equal(devices.length, 3);
await showStore(user.id);

say("The user ends the phone's session from the laptop.");
await auth.api.revokeSession({ headers: laptop, body: { token: await tokenOf(phone) } });
tell(
	`phone: ${(await tokenOf(phone)) ? "signed in" : "signed out"}, tablet: ${(await tokenOf(tablet)) ? "signed in" : "signed out"}`,
);
assert.equal(await tokenOf(phone), undefined);
assert.ok(await tokenOf(tablet));

say("Forty sign-ins at the same moment.");
await Promise.all(Array.from({ length: 40 }, (_, n) => signIn(`browser ${n + 1}`)));
const all = await auth.api.listSessions({ headers: laptop });
tell(`All are listed: ${all.length} sessions (2 + 40).`);
assert.equal(all.length, 42);

say("Twenty times, a sign-out races a profile update, which writes the same session back.");
let returned = 0;
for (let round = 0; round < 20; round++) {
	const device = await signIn("racing browser");
	const token = await tokenOf(device);
	await Promise.all([
		auth.api.signOut({ headers: device }),
		auth.api.updateUser({ headers: laptop, body: { name: `A user, renamed ${round} times` } }),
	]);
	if (await sessions.getSession(token)) returned += 1;
}
tell(`Sessions that came back: ${returned}`);
assert.equal(returned, 0);

say("The user ends all other sessions, then this one.");
await auth.api.revokeOtherSessions({ headers: laptop });
tell(`left: ${(await auth.api.listSessions({ headers: laptop })).map((session) => session.userAgent).join(", ")}`);
await auth.api.revokeSessions({ headers: laptop });
tell(`left: ${(await sessions.getUserSessions(user.id)).length}`);
assert.equal(await tokenOf(laptop), undefined);

say("What is in the store now:");
const keys = await storage.listKeys();
tell(`${keys.length} of Better Auth's own keys (the time of the last "end all"), and no session.`);
assert.deepEqual(await sessions.getUserSessions(user.id), []);
await storage.clear();

console.log("\nEverything held. (This process ends by itself: an idle store keeps none alive.)");
