// A TCP proxy before a Redis server that can do to a connection what networks do: keep it open and carry nothing, cut it,
// carry everything late, or carry the answers and lose the pushes. It also counts round trips.

import { once } from "node:events";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { encode } from "./resp.js";

/**
 * Starts one on a port of its own; it ends with the test.
 * @param {import("node:test").TestContext} t
 * @param {import("./redis.js").RedisServer} server one without TLS and without a password
 */
export async function startProxy(t, server) {
	const proxy = new RedisProxy(server);
	await proxy.start();
	t.after(() => proxy.stop());
	return proxy;
}

export class RedisProxy {
	/** @type {string} */
	url;
	/** How often clients sent something after the server had answered. */
	roundTrips = 0;
	/** How many connections clients have made. */
	connections = 0;
	/** How many pushes were swallowed. */
	swallowed = 0;
	/** Whether RESP3 pushes are lost on the way to the client. */
	swallowsPushes = false;
	/** What a client is told in place of what the server said. @type {(text: Buffer) => Buffer} */
	rewrite = (frame) => frame;
	/** What the server is asked in place of what a client asked, word by word. @type {((words: Buffer[]) => (string | Buffer)[]) | undefined} */
	rewriteCommand;

	/** Whether what passes is no RESP: between a primary and its replica. */
	isRaw = false;

	/** How late everything arrives, in ms, in each direction. */
	delayMs = 0;

	/** How many bytes a second reach each client: a slow line carries them in small pieces, and without looking at them. */
	bytesPerSecond = Infinity;

	#server;
	#listener = net.createServer({ allowHalfOpen: true }, (client) => this.#carry(client));
	/** @type {Set<net.Socket>} */
	#sockets = new Set();
	#isFrozen = false;
	/** How much is on its late way to a socket, and when the last of it has arrived. */
	#late = new WeakMap();
	#queues = new WeakMap();

	/** @param {import("./redis.js").RedisServer} server one without TLS and without a password */
	constructor(server) {
		this.#server = server;
	}

	/** @param {number} [port] one that nobody uses; 0: any */
	async start(port = 0, host = "127.0.0.1") {
		this.#listener.listen(port, host);
		await once(this.#listener, "listening");
		this.url = `redis://${host}:${this.#listener.address().port}`;
	}

	stop() {
		this.#listener.close();
		for (const socket of this.#sockets) socket.destroy();
	}

	/** New connections lead to another server from now on. */
	leadTo(server) {
		this.#server = server;
	}

	/** From now on nothing passes, in neither direction, and nothing is closed; new connections fare the same. */
	freeze() {
		this.#isFrozen = true;
		for (const socket of this.#sockets) socket.pause();
	}

	/** Carries on, beginning with what was held back. */
	thaw() {
		this.#isFrozen = false;
		for (const socket of this.#sockets) socket.resume();
	}

	/** Carries nothing any more on the connections that there are, and closes none; new ones work. */
	forget() {
		for (const socket of this.#sockets) socket.pause();
	}

	/** Cuts connections as a host does that has forgotten them: by RST. @param {() => boolean} [which] asked for each */
	cut(which = () => true) {
		for (const socket of this.#sockets) if (which()) socket.resetAndDestroy();
	}

	/** Passes something on, late as it may be; nothing overtakes what is late. */
	#pass(socket, bytes) {
		const late = this.#late.get(socket) ?? 0;
		if (this.delayMs === 0 && late === 0) {
			if (socket.writable) socket.write(bytes);
			return;
		}
		this.#late.set(socket, late + 1);
		const before = this.#queues.get(socket);
		const due = sleep(this.delayMs);
		const queue = Promise.all([before, due]).then(() => {
			if (socket.writable) socket.write(bytes);
			this.#late.set(socket, this.#late.get(socket) - 1);
		});
		this.#queues.set(socket, queue);
	}

	/** Passes bytes on as a slow line does, one piece after the other. */
	async #trickle(socket, bytes) {
		const piece = Math.ceil(this.bytesPerSecond / 100);
		const before = this.#queues.get(socket);
		const queue = (async () => {
			await before;
			for (let at = 0; at < bytes.length && socket.writable; at += piece) {
				await sleep(10);
				socket.write(bytes.subarray(at, at + piece));
			}
		})();
		this.#queues.set(socket, queue);
		await queue;
	}

	#carry(client) {
		this.connections++;
		const { host, port } = this.#server;
		const upstream = net.connect({ host, port, noDelay: true, allowHalfOpen: true });
		client.setNoDelay(true);
		for (const [socket, other] of [
			[client, upstream],
			[upstream, client],
		]) {
			this.#sockets.add(socket);
			if (this.#isFrozen) socket.pause();
			socket.on("error", () => {});
			// Never by end(), which Node.js would call itself if half open were not allowed: reset while that is under way, a socket is never
			// closed, and keeps its process for ever.
			socket.on("end", () => socket.destroy());
			socket.on("close", () => {
				this.#sockets.delete(socket);
				other.destroy();
			});
		}
		let isAnswered = true;
		const commands = frames((frame) => encode(this.rewriteCommand(wordsOf(frame))));
		client.on("data", (chunk) => {
			if (isAnswered) this.roundTrips++;
			isAnswered = false;
			this.#pass(upstream, this.rewriteCommand ? commands(chunk) : chunk);
		});
		const answers = frames((frame) => {
			if (!this.swallowsPushes || frame[0] !== PUSH) return this.rewrite(frame);
			this.swallowed++;
			return Buffer.alloc(0);
		});
		upstream.on("data", (chunk) => {
			isAnswered = true;
			if (this.bytesPerSecond < Infinity) return void this.#trickle(client, chunk);
			const passed = this.isRaw ? chunk : answers(chunk);
			if (passed.length > 0) this.#pass(client, passed);
		});
	}
}

/** Takes a stream's chunks, and returns what is made of the frames that are whole by then. @param {(frame: Buffer) => Buffer} change */
function frames(change) {
	let rest = Buffer.alloc(0);
	return (chunk) => {
		const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
		const changed = [];
		let at = 0;
		for (let end = frameEnd(bytes, at); end !== undefined; end = frameEnd(bytes, at)) {
			changed.push(change(bytes.subarray(at, end)));
			at = end;
		}
		rest = bytes.subarray(at);
		return Buffer.concat(changed);
	};
}

/** The words of a command. */
function wordsOf(frame) {
	const words = [];
	let at = frame.indexOf("\r\n") + 2;
	while (at < frame.length) {
		const begin = frame.indexOf("\r\n", at) + 2;
		const end = begin + Number(frame.toString("latin1", at + 1, begin - 2));
		words.push(frame.subarray(begin, end));
		at = end + 2;
	}
	return words;
}

const PUSH = ">".charCodeAt(0);

/** How many frames follow in one of this type, for each that its head counts. */
const NESTED = { "*": 1, "~": 1, ">": 1, "%": 2 };

/** Where the RESP frame that begins at `at` ends; undefined while it is not all there. */
function frameEnd(bytes, at) {
	const lineEnd = bytes.indexOf("\r\n", at);
	if (lineEnd < 0) return undefined;
	const type = String.fromCharCode(bytes[at]);
	const length = Number(bytes.toString("latin1", at + 1, lineEnd));
	let end = lineEnd + 2;
	if ("$!=".includes(type) && length >= 0) end += length + 2;
	for (let left = length * (NESTED[type] ?? 0); left > 0; left--) {
		end = frameEnd(bytes, end);
		if (end === undefined) return undefined;
	}
	return end <= bytes.length ? end : undefined;
}
