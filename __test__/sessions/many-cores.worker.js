// A worker of many-cores.test.js: a user with a large picture makes one organization active after the other, on two devices, while others
// use their sessions.

import { availableParallelism } from "node:os";
import { App } from "../better-auth/support/app.js";
import { versions } from "../better-auth/support/versions.js";
import { ready, report } from "../support/worker.js";

const OTHERS = 8;

const { url, nearCache, kilobytes, tries } = await ready();
const version = versions.at(-1);
const app = new App(
	version,
	{ url, nearCache, keyPrefix: `${process.pid}:`, logger: false },
	{
		plugins: [version.plugins.organization()],
	},
);
const image = `data:image/png;base64,${"A".repeat(kilobytes * 1024)}`;
const devices = [await app.signUp(), await app.signIn()];
await devices[0].ok("/update-user", { image });
const organizations = [];
for (const slug of ["first", "second"]) {
	organizations.push((await devices[0].ok("/organization/create", { name: slug, slug })).id);
}
const others = [];
for (let n = 0; n < OTHERS; n++) {
	const other = await app.signUp(`other${n}`);
	await other.ok("/update-user", { image });
	others.push(other);
}

let lost = 0;
for (let n = 0; n < tries; n++) {
	const organizationId = organizations[n % 2];
	const device = devices[n % 3 === 0 ? 1 : 0];
	await Promise.all([
		device.ok("/organization/set-active", { organizationId }),
		...others.map((other) => other.whoAmI()),
	]);
	const { session } = JSON.parse(await app.storage.get(device.token));
	if (session.activeOrganizationId !== organizationId) lost++;
}
await app.close();
await report({ seen: availableParallelism(), lost, tries });
