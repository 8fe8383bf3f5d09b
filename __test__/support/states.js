// States in which a real server refuses commands, and stand-ins for those that only a service has.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { startRedis } from "./redis.js";
import { until } from "./wait.js";

/** Whether an error reply has this code. */
export const isCode = (code) => (error) => error.code === code;

/**
 * A server that takes no writes, because it could not save its data (MISCONF). It is stopped when the test ends.
 * @param {import("node:test").TestContext} t
 */
export async function startWithoutDisk(t) {
	const server = await startRedis({ config: ["save 3600 1000000", "stop-writes-on-bgsave-error yes"] });
	t.after(() => server.stop());
	await fillDisk(server);
	return server;
}

/** Makes a server with "save" unable to save its data: a folder lies where the file is to be. */
export async function fillDisk(server) {
	mkdirSync(join(server.dir, "dump.rdb"), { recursive: true });
	await server.cli("BGSAVE");
	await until("a failed save", async () => /rdb_last_bgsave_status:err/.test(await server.cli("INFO", "persistence")));
}

/** The quota of a managed server is used up, or not any more: the proxy refuses what the server answers. */
export function useUpQuota(proxy, isUsedUp = true) {
	const refusal = Buffer.from("-ERR max requests limit exceeded. Limit: 500000, Usage: 500000.\r\n");
	const isPush = (frame) => frame[0] === ">".charCodeAt(0);
	proxy.rewrite = isUsedUp ? (frame) => (isPush(frame) ? frame : refusal) : (frame) => frame;
}

/** How soon a server counts a script as a long one, which may be stopped. */
export const STOPS_SOON = "busy-reply-threshold 50";

/**
 * The next script that is sent by way of the proxy does not end by itself, and an operator stops it (SCRIPT KILL).
 * @param {import("./proxy.js").RedisProxy} proxy
 * @param {import("./redis.js").RedisServer} server started with STOPS_SOON
 * @returns {Promise<unknown>} once it was stopped
 */
export function stopNextScript(proxy, server) {
	proxy.rewriteCommand = (words) => {
		if (!/^EVAL/i.test(words[0].toString())) return words;
		proxy.rewriteCommand = (others) => others;
		return ["EVAL", "while true do end", 0];
	};
	const stop = () =>
		server.cli("SCRIPT", "KILL").then(
			() => true,
			() => false, // none runs for long yet
		);
	return until("a script that was stopped", stop);
}
