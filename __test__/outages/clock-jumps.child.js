// Reads the keys that it is told by messages (clock-jumps.test.js): node clock-jumps.child.js <options of the store as JSON>

import { redisStorage } from "better-auth-redis-store";

const storage = redisStorage({ ...JSON.parse(process.argv[2]), logger: false });

process.on("message", async (key) => {
	const outcome = await Promise.resolve(storage.get(key)).then(
		() => "done",
		({ code, message }) => `${code} ${message}`,
	);
	process.send(outcome);
});
process.send("started");
