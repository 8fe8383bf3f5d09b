// Opens stores and pings by them, as it is told (scarce.test.js).

import { redisStorage } from "better-auth-redis-store";

const stores = new Map();

process.on("message", async ({ options }) => {
	const name = JSON.stringify(options);
	if (!stores.has(name)) stores.set(name, redisStorage({ ...options, logger: false }));
	const outcome = await stores
		.get(name)
		.ping()
		.then(
			() => "done",
			({ code, message }) => `${code} ${message}`,
		);
	process.send(outcome);
});
process.send("started");
