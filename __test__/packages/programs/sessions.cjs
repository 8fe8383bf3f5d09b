// What a consumer does with the package, as a CommonJS module (require of an ES module).
const { RedisSessionStore } = require("better-auth-redis-store");
const { sessionGate } = require("better-auth-redis-store/gate");

async function main() {
	if (typeof sessionGate !== "function") throw new Error("there is no gate");
	for (const url of process.argv.slice(2)) {
		const store = new RedisSessionStore(url);
		const userId = crypto.randomUUID(); // the server may be one for many consumers
		const expiresAt = new Date(Date.now() + 60_000);
		await store.createSession({ token: `laptop of ${userId}`, userId, expiresAt });
		await store.createSession({ token: `phone of ${userId}`, userId, expiresAt });
		const before = await store.getUserSessions(userId);
		const ended = await store.deleteUserSessions(userId);
		const left = await store.getUserSessions(userId);
		console.log(`${new URL(url).protocol} listed ${before.length}, ended ${ended}, left ${left.length}`);
		await store.close();
	}
}
main();
