// A Redis client of one command: connects, sends, returns the reply, closes. It shares no code with what is under test,
// and leaves no connection behind that a test would have to reckon with. RESP2, whole replies only.

import net from "node:net";
import tls from "node:tls";

/** Redis answered with an error. `code` is its first word: NOAUTH, WRONGTYPE, OOM... */
export class ReplyError extends Error {
	/** @param {string} message */
	constructor(message) {
		super(message);
		this.name = "ReplyError";
		this.code = message.split(" ", 1)[0];
	}
}

/**
 * @typedef {object} Server where and how to reach it
 * @property {string} host
 * @property {number} port
 * @property {string} [password]
 * @property {tls.ConnectionOptions} [tls]
 *
 * @typedef {string | number | null | Buffer | ReplyError | Reply[]} Reply an error inside an array is not thrown
 */

/**
 * Sends one command and returns its reply.
 * @param {Server} server
 * @param {(string | number | Buffer)[]} args the command's words; strings are sent as UTF-8
 * @param {object} [options]
 * @param {boolean} [options.buffers] bulk strings as they came, as Buffers, in place of UTF-8 strings
 * @param {number} [options.deadlineMs] for connecting, sending and the reply together
 * @returns {Promise<Reply>}
 * @throws {ReplyError} when Redis answers with an error
 */
export function sendCommand(server, args, { buffers = false, deadlineMs = 10_000 } = {}) {
	const { host, port, password } = server;
	const commands = password === undefined ? [args] : [["AUTH", password], args];

	return new Promise((resolve, reject) => {
		const socket = server.tls ? tls.connect({ host, port, ...server.tls }) : net.connect({ host, port });
		const late = () => socket.destroy(new Error(`no reply to ${args[0]} within ${deadlineMs} ms`));
		const timer = setTimeout(late, deadlineMs);
		let received = Buffer.alloc(0);

		socket.on("data", (chunk) => {
			received = Buffer.concat([received, chunk]);
			try {
				const replies = parseAll(received, commands.length, buffers);
				if (!replies) return;
				const error = replies.find((reply) => reply instanceof ReplyError);
				if (error) throw error;
				resolve(replies.at(-1));
				socket.destroy();
			} catch (error) {
				socket.destroy(error);
			}
		});
		socket.on("error", reject);
		socket.on("close", () => {
			clearTimeout(timer);
			reject(new Error(`the connection closed before the reply to ${args[0]}`)); // no effect once it is settled
		});
		socket.write(Buffer.concat(commands.map(encode)));
	});
}

/** A command as it is sent. @param {(string | number | Buffer)[]} args */
export function encode(args) {
	const words = args.map((arg) => (Buffer.isBuffer(arg) ? arg : Buffer.from(String(arg))));
	const parts = words.flatMap((word) => [Buffer.from(`$${word.length}\r\n`), word, Buffer.from("\r\n")]);
	return Buffer.concat([Buffer.from(`*${words.length}\r\n`), ...parts]);
}

/** The `count` replies that `bytes` begins with, or undefined while some of them is still on its way. */
function parseAll(bytes, count, buffers) {
	let at = 0;
	const incomplete = Symbol();

	const line = () => {
		const end = bytes.indexOf("\r\n", at);
		if (end < 0) throw incomplete;
		const text = bytes.toString("utf8", at, end);
		at = end + 2;
		return text;
	};
	const bulk = (length) => {
		if (at + length + 2 > bytes.length) throw incomplete;
		const body = bytes.subarray(at, at + length);
		at += length + 2;
		return buffers ? Buffer.from(body) : body.toString();
	};
	const reply = () => {
		const head = line();
		const rest = head.slice(1);
		switch (head[0]) {
			case "+":
				return rest;
			case "-":
				return new ReplyError(rest);
			case ":":
				return Number(rest);
			case "$":
				return rest === "-1" ? null : bulk(Number(rest));
			case "*":
				return rest === "-1" ? null : Array.from({ length: Number(rest) }, reply);
			default:
				throw new Error(`not RESP2: ${head}`);
		}
	};

	try {
		return Array.from({ length: count }, reply);
	} catch (error) {
		if (error === incomplete) return undefined;
		throw error;
	}
}
