// Pings at each message, and then has nothing more to do (refused-start.test.js): { url, isLast }.

import { redisStorage } from "better-auth-redis-store";

let storage;

process.on("message", async ({ url, isLast }) => {
	storage ??= redisStorage({ url, logger: false });
	const outcome = await storage.ping().then(
		() => "done",
		({ code, message }) => `${code} ${message}`,
	);
	process.send(outcome, () => isLast && process.disconnect());
});
process.send("started");
