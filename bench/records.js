// What lies in the stores while they are measured: users, their sessions, and session records of a given size. All of
// it is drawn from a seed, so that every peer works on the same records in the same order.

import { createHmac } from "node:crypto";

/** Better Auth's, in every peer. */
export const SECRET = "f3hK9sQ2vLx7PzR4mTn8WbYc6JdGa1Ue5";

const USER_COUNT = 1000;
export const LIFE_S = 7 * 24 * 60 * 60;

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36";

/** Fractions from 0 to 1 (mulberry32): the same row for the same seed. */
export function randomFrom(seed) {
	let state = seed;
	return () => {
		state = (state + 0x6d2b79f5) | 0;
		let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
		mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
	};
}

/** The same elements in another order. */
export function shuffled(elements, random) {
	const row = [...elements];
	for (let i = row.length - 1; i > 0; i--) {
		const j = Math.floor(random() * (i + 1));
		[row[i], row[j]] = [row[j], row[i]];
	}
	return row;
}

/** 32 letters and digits, as Better Auth's tokens and ids are. */
export function makeId(random) {
	let id = "";
	for (let i = 0; i < 32; i++) id += LETTERS[Math.floor(random() * LETTERS.length)];
	return id;
}

const userRandom = randomFrom(1);

/** The users that exist in every peer's database. */
export const users = Array.from({ length: USER_COUNT }, (_, number) => ({
	id: makeId(userRandom),
	name: `User ${number}`,
	email: `user-${number}@example.com`,
	emailVerified: true,
	createdAt: new Date("2026-01-01T00:00:00.000Z"),
	updatedAt: new Date("2026-01-01T00:00:00.000Z"),
}));

/** A session that begins now, with Better Auth's fields. */
export function makeSession(random, userId) {
	const now = new Date();
	return {
		id: makeId(random),
		token: makeId(random),
		userId,
		expiresAt: new Date(now.getTime() + LIFE_S * 1000),
		createdAt: now,
		updatedAt: now,
		ipAddress: "203.0.113.7",
		userAgent: BROWSER,
	};
}

/** The headers of a request for a session, as a browser sends them; `secret` signs the cookie. */
export function headersFor(token, secret = SECRET) {
	const signature = createHmac("sha256", secret).update(token).digest("base64");
	const cookie = `better-auth.session_token=${encodeURIComponent(`${token}.${signature}`)}`;
	return new Headers({ cookie: `theme=dark; ${cookie}`, "user-agent": BROWSER, accept: "text/html" });
}

/**
 * What Better Auth writes for a session, made up to `bytes` of UTF-8 by a field that an application could have added.
 * A record of 200 B has room for the session's own fields only.
 */
export function makeRecord(session, user, { bytes, ascii = true }) {
	const record =
		bytes < 500
			? { session: pick(session, ["token", "userId", "expiresAt", "createdAt"]) }
			: { session, user: ascii ? user : { ...user, name: "Zoë Łukasiewicz 山田" } };
	record.session = { ...record.session, note: "" };
	record.session.note = filler(bytes - Buffer.byteLength(JSON.stringify(record)), ascii);
	return JSON.stringify(record);
}

/** The session, made up likewise to `bytes` of JSON by itself. */
export function enlarged(session, bytes) {
	const missing = bytes - Buffer.byteLength(JSON.stringify({ ...session, note: "" }));
	return { ...session, note: filler(missing, true) };
}

function filler(bytes, ascii) {
	if (bytes < 0) throw new Error(`a session record is ${-bytes} B larger than it should be`);
	return ascii ? "n".repeat(bytes) : "語".repeat(bytes / 3) + "n".repeat(bytes % 3);
}

function pick(object, names) {
	return Object.fromEntries(names.map((name) => [name, object[name]]));
}
