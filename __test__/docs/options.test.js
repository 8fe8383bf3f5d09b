// docs/options.md against the types and the store: a row for every option and for no other, with its type and default; whole numbers are taken
// up to the bounds that stand there and not beyond; and the message for a wrong value is the one that the store gives. README.md's choice of them agrees.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { sessionGate } from "better-auth-redis-store/gate";
import ts from "typescript";
import { root } from "../../scripts/programs.js";
import { rowsBelow } from "./tables.js";

/** By heading of the page, or several, the interface whose members the tables below it have. */
const TABLES = [
	["lib/options.ts", "StoreOptions", ["Where Redis is", "Login and TLS", "Time and load", "Sessions", "Outages"]],
	["lib/options.ts", "TlsOptions", ["`tls`"]],
	["lib/options.ts", "NearCacheOptions", ["`nearCache`"]],
	["lib/options.ts", "RevokeOptions", ["`revoke`"]],
	["lib/gate.ts", "GateOptions", ["The gate"]],
];

/** What must stand beside the outermost values of an option. */
const BESIDE = {
	port: { url: undefined, host: "localhost" },
	reconnectMaxMs: { reconnectMinMs: 1 },
	timeoutMs: { commandTimeout: 600_000, revoke: { waitReplicas: 1 } },
	maxStalenessMs: { nearCache: { heartbeatMs: 10 } },
	heartbeatMs: { nearCache: { maxStalenessMs: 180_000 } },
};

const page = readFileSync(join(root, "docs/options.md"), "utf8");
const readme = readFileSync(join(root, "README.md"), "utf8");

const nameIn = ([cell]) => cell.replaceAll("`", "");
const rowsOf = (headings) => headings.flatMap((heading) => rowsBelow(page, heading));

/** The members of an interface: name, type and what is written above it. */
function membersOf(file, name) {
	const source = ts.createSourceFile(file, readFileSync(join(root, file), "utf8"), ts.ScriptTarget.ES2022, true);
	const found = source.statements.find((node) => ts.isInterfaceDeclaration(node) && node.name.text === name);
	return found.members.map((member) => ({
		name: member.name.text,
		type: member.type.getText().replace(" | undefined", ""),
		comment: ts.getTextOfJSDocComment(ts.getJSDocCommentsAndTags(member)[0]?.comment) ?? "",
	}));
}

for (const [file, type, headings] of TABLES) {
	test(`docs/options.md, ${type}: a row for each member, with its type and default`, () => {
		const rows = new Map(rowsOf(headings).map((row) => [nameIn(row), row]));
		const members = membersOf(file, type);
		assert.deepEqual([...rows.keys()].sort(), members.map(({ name }) => name).sort());
		for (const { name, type, comment } of members) {
			const [, told, standard] = rows.get(name);
			const kind = { number: "integer", string: "string", boolean: "boolean" }[type];
			if (kind) assert.equal(told.split(",")[0], kind, `${name}: ${type}`);
			if (/^("\w+"|[\d. MiKB]+|`\S+`)$/.test(standard)) {
				const spelled = [standard, standard.replaceAll("`", ""), `\`${standard}\``];
				assert.ok(
					spelled.some((value) =>
						new RegExp(`Default:? (the environment variable )?${value.replaceAll("$", "\\$")}[.,]`).test(comment),
					),
					`${name}: ${standard} is not the default that its comment tells: ${comment}`,
				);
			} else if (standard === "") {
				assert.doesNotMatch(comment, /Default/, `${name} has a default`);
			}
		}
	});
}

/** Makes a store, and closes it: nothing is connected to. */
function make(options, Face = redisStorage) {
	const store = Face === RedisSessionStore ? new RedisSessionStore(options) : redisStorage(options);
	store.close();
}

test("whole numbers are accepted within the bounds of docs/options.md, and refused beyond", () => {
	let tried = 0;
	for (const [, type, headings] of TABLES) {
		const inside = { NearCacheOptions: "nearCache", RevokeOptions: "revoke" }[type];
		for (const [cell, told] of rowsOf(headings)) {
			const name = cell.replaceAll("`", "");
			const [, least, most] = /^integer.* (\d+) to (\d+)$/.exec(told) ?? [];
			if (least === undefined) continue;
			const given = (value) => {
				const options = { url: "redis://localhost", ...BESIDE[name] };
				if (inside) options[inside] = { ...options[inside], [name]: value };
				else options[name] = value;
				return JSON.parse(JSON.stringify(options));
			};
			for (const value of [Number(least), Number(most)]) make(given(value));
			for (const value of [least - 1, Number(most) + 1]) {
				assert.throws(() => make(given(value)), { code: "INVALID_ARGUMENT" }, `${name}: ${value} is taken`);
			}
			tried++;
		}
	}
	assert.ok(tried >= 17, `only ${tried} options have bounds`);
});

const isForGates = ([given]) => /\{ (onRefresh|refresh):/.test(given);
const wrong = rowsBelow(page, "Error messages for wrong values");

const written = (given) =>
	JSON.parse(JSON.stringify(runInNewContext(`(${given.replaceAll("`", "")})`), keepNaN), revive);
const keepNaN = (_, value) => (Number.isNaN(value) ? "NaN" : value);
const revive = (_, value) => (value === "NaN" ? Number.NaN : value);

/** A place that the options which are under test do not name themselves. */
function withPlace(options) {
	const places = ["url", "host", "path", "cluster", "sentinels"];
	if (places.some((place) => place in options)) return options;
	if ("sentinelUsername" in options || "sentinelPassword" in options || "sentinelTLS" in options) {
		return { sentinels: [{ host: "localhost" }], ...options };
	}
	return { host: "localhost", ...options };
}

for (const [given, message] of wrong.filter((row) => !isForGates(row))) {
	test(`docs/options.md, ${given}: ${message}`, () => {
		for (const Face of [redisStorage, RedisSessionStore]) {
			assert.throws(() => make(withPlace(written(given)), Face), { code: "INVALID_ARGUMENT", message });
		}
	});
}

test("docs/options.md has a wrong value for every option of a store", () => {
	const tried = new Set(wrong.flatMap(([given]) => Object.keys(written(given))));
	const missing = membersOf("lib/options.ts", "StoreOptions").filter(({ name }) => !tried.has(name));
	assert.deepEqual(missing, []);
});

for (const [given, message] of wrong.filter(isForGates)) {
	test(`docs/options.md, the gate, ${given}: ${message}`, () => {
		const auth = { api: { getSession() {} } };
		assert.throws(() => sessionGate(auth, {}, written(given)), { code: "INVALID_ARGUMENT", message });
	});
}

test("README.md lists options with the same defaults", () => {
	const known = new Map(rowsOf(TABLES[0][2]).map((row) => [nameIn(row), row[2]]));
	const rows = rowsBelow(readme, "Options");
	assert.ok(rows.length >= 5);
	for (const row of rows) {
		assert.ok(known.has(nameIn(row)), `${nameIn(row)} is no option`);
		const number = /^\d+/.exec(row[1])?.[0];
		if (number) assert.equal(number, /^\d+/.exec(known.get(nameIn(row)))?.[0], nameIn(row));
	}
});
