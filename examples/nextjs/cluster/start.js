// What `run` does: prepares and starts everything, says where it is, and stops it with itself: each server ends
// with the process that started it, also at Ctrl-C.

import { SetupError } from "../../../scripts/apt.js";
import { prepare } from "./prepare.js";
import { Servers } from "./servers.js";

try {
	prepare((line) => console.log(line));
	const { url, instances, redis } = await Servers.start();
	console.log(`
  through nginx   ${url}
${instances.map((instance) => `  ${instance.name}        ${instance.url}`).join("\n")}
  Redis           redis-cli -p ${redis.port}

Sign up, reload, look at the single servers, end one. Ctrl-C stops everything.`);
} catch (error) {
	if (!(error instanceof SetupError)) throw error;
	console.error(`\n${error.message}`);
	process.exitCode = 1;
}
