// What clients send to a Redis server, by its own MONITOR.

import { once } from "node:events";
import net from "node:net";
import { until } from "./wait.js";

/**
 * Runs something and tells which commands clients sent meanwhile; what scripts called is left out.
 * @param {import("./redis.js").RedisServer} server one without a password
 * @param {() => Promise<unknown>} run
 * @returns {Promise<string[]>} the names, upper case
 */
export async function sentDuring(server, run) {
	const socket = net.connect({ host: server.host, port: server.port });
	let text = "";
	socket.setEncoding("utf8").on("data", (chunk) => {
		text += chunk;
	});
	try {
		await once(socket, "connect");
		socket.write("MONITOR\r\n");
		await until("MONITOR's OK", () => text.startsWith("+OK\r\n"));
		await run();
		await server.cli("ECHO", "that is all");
		await until("the last command", () => text.includes('"that is all"'));
	} finally {
		socket.destroy();
	}
	// +1700000000.000000 [0 127.0.0.1:5000] "GET" "key"; a script's are from "[0 lua]".
	const sent = text.matchAll(/^\+[\d.]+ \[\d+ (?!lua)[^\]]+\] "(\w+)"/gm);
	return [...sent].map(([, name]) => name.toUpperCase()).filter((name) => name !== "ECHO");
}
