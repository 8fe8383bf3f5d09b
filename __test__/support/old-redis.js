// A stand-in for a server before Redis 6.2: it answers what a connection begins with as Redis 5 or 6.0 does, and refuses ZADD with GT as they do.

import { listen } from "./listener.js";

/**
 * Starts it.
 * @param {import("node:test").TestContext} t
 * @param {string} version what it says of itself; from 6.0 on it speaks RESP3
 * @returns {Promise<number>} its port
 */
export function startOldRedis(t, version) {
	const hasHello = Number.parseFloat(version) >= 6;
	const info = `redis_version:${version}\r\n`;
	const fields = ["server", "redis", "version", version, "mode", "standalone"];
	const hello = `%${fields.length / 2}\r\n${fields.map((field) => `$${field.length}\r\n${field}\r\n`).join("")}`;
	const answers = {
		HELLO: hasHello ? hello : "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n",
		CLIENT: "+OK\r\n",
		AUTH: "+OK\r\n",
		ROLE: "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n",
		EVALSHA: "-NOSCRIPT No matching script. Please use EVAL.\r\n",
		EVAL: ":1\r\n",
		ZADD: "-ERR syntax error\r\n",
		INFO: `$${info.length}\r\n${info}\r\n`,
	};
	return listen(t, (socket) => {
		let received = "";
		socket.on("data", (chunk) => {
			received += chunk;
			for (let command = next(); command; command = next())
				socket.write(answers[command] ?? "-ERR unknown command\r\n");
		});
		/** The name of the next whole command, which it takes away. */
		function next() {
			const [, count] = /^\*(\d+)\r\n/.exec(received) ?? [];
			const whole = new RegExp(`^\\*${count}\\r\\n(?:\\$\\d+\\r\\n[^\\r]*\\r\\n){${count}}`).exec(received)?.[0];
			if (whole === undefined) return undefined;
			received = received.slice(whole.length);
			return whole.split("\r\n")[2].toUpperCase();
		}
	});
}
