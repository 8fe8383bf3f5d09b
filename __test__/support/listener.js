// A TCP server that is no Redis, for what a store meets at a wrong address.

import { once } from "node:events";
import net from "node:net";

/**
 * Listens on a port of the loopback that nobody else uses, until the test ends.
 * @param {import("node:test").TestContext} t
 * @param {(socket: net.Socket) => void} serve what is done to each connection
 * @returns {Promise<number>} the port
 */
export async function listen(t, serve) {
	const sockets = new Set();
	const listener = net.createServer((socket) => {
		sockets.add(socket);
		socket.on("error", () => {});
		serve(socket);
	});
	listener.listen(0, "127.0.0.1");
	await once(listener, "listening");
	t.after(() => {
		listener.close();
		for (const socket of sockets) socket.destroy();
	});
	return listener.address().port;
}
