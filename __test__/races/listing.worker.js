// One server looks at lists all the time, the others sign in and out: see listing.test.js.

import { seeded } from "../support/counts.js";
import { count, index, ready, report } from "../support/worker.js";
import { openApp } from "./app.js";
import { meet, now } from "./race.js";

const USERS = ["ann", "bob", "cid"];
/** Looks under way at a time. */
const LOOKS = 6;
/** Sign-ins under way at a time. */
const SIGN_INS = 3;
/** How many sessions a user keeps of each way to sign in: the older ones are signed out. */
const KEPT = 4;

const { place, signIns } = await ready();
const random = seeded(`listing, worker ${index}`);
const app = await openApp(place);
app.seedUsers(USERS);
const verdict = {
	signIns: 0,
	refused: 0,
	unlistedAtOnce: 0,
	unlistedAfterwards: 0,
	looks: 0,
	looksMs: 0,
	unexpected: [],
};

await meet();
if (index === 0) {
	let over = false;
	const others = meet().then(() => {
		over = true;
	});
	const start = now();
	await Promise.all(Array.from({ length: LOOKS }, () => looksUntil(() => over)));
	verdict.looksMs = now() - start;
	await others;
} else {
	const share = Math.ceil(signIns / (count - 1) / SIGN_INS);
	const kept = await Promise.all(Array.from({ length: SIGN_INS }, () => signsInAndOut(share)));
	await meet();
	for (const { user, token } of kept.flat()) if (!(await isListed(user, token))) verdict.unlistedAfterwards++;
}
verdict.unexpected.push(...app.logged);
await report(verdict);

async function looksUntil(isOver) {
	while (!isOver()) {
		const user = random.pick(USERS);
		const look = random.pick([
			() => app.storage.get(`active-sessions-${user}`),
			() => app.sessions.getUserSessions(user),
			() => app.sessions.cleanupExpiredSessions(),
			// Better Auth deletes the list when it thinks that nobody is in it.
			() => app.storage.delete(`active-sessions-${user}`),
		]);
		await look().catch((error) => verdict.unexpected.push(error.stack));
		verdict.looks++;
	}
}

async function signsInAndOut(times) {
	const live = [];
	for (let time = 0; time < times; time++) {
		const user = random.pick(USERS);
		const token = await app.signIn(user).catch(() => undefined);
		verdict.signIns++;
		if (token === undefined) {
			verdict.refused++;
			continue;
		}
		if (!(await isListed(user, token))) verdict.unlistedAtOnce++;
		live.push({ user, token });
		if (live.length > KEPT) await app.signOut(live.shift().token);
	}
	return live;
}

async function isListed(user, token) {
	const [byStore, listed, indexed] = await Promise.all([
		app.sessions.getUserSessions(user),
		app.listed(token),
		app.index(user),
	]);
	return byStore.some((session) => session.token === token) && listed.includes(token) && indexed.has(token);
}
