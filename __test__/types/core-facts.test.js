// Types of lib/ that repeat what the Rust core defines: error codes, event names, and the members of what metrics() returns.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { redisStorage } from "better-auth-redis-store";
import ts from "typescript";
import { facts, metricsOfUnopenedStore } from "#native";
import { root } from "../../scripts/programs.js";

const parse = (file) => ts.createSourceFile(file, readFileSync(join(root, file), "utf8"), ts.ScriptTarget.ES2022, true);

/** The texts of a union type. */
function textsOf(file, name) {
	const alias = parse(file).statements.find((node) => ts.isTypeAliasDeclaration(node) && node.name.text === name);
	return alias.type.types.map(({ literal }) => literal.text);
}

test("SessionStoreErrorCode has the codes of the core, and outages are among them", () => {
	const { errorCodes, outageCodes } = facts();
	assert.deepEqual(textsOf("lib/error.ts", "SessionStoreErrorCode").sort(), errorCodes.sort());
	assert.deepEqual(outageCodes.sort(), ["AUTH", "READONLY", "TIMEOUT", "TLS", "UNAVAILABLE"]);
});

test("StoreEvent has the events of the core", () => {
	assert.deepEqual(textsOf("lib/native/events.ts", "StoreEvent").sort(), facts().eventNames.sort());
});

/** The members of an interface as a tree of names: what an object of it has, `null` groups included. */
function treeOf(type) {
	const metrics = parse("lib/metrics.ts").statements.filter(ts.isInterfaceDeclaration);
	const visit = (node) => {
		if (ts.isUnionTypeNode(node)) return visit(node.types[0]);
		if (ts.isTypeLiteralNode(node)) return namesOf(node.members);
		const found = ts.isTypeReferenceNode(node) && metrics.find(({ name }) => name.text === node.typeName.text);
		return found ? namesOf(found.members) : true;
	};
	const namesOf = (members) => Object.fromEntries(members.map(({ name, type }) => [name.text, visit(type)]));
	return namesOf(metrics.find(({ name }) => name.text === type).members);
}

/** The members of an object as such a tree. */
function shapeOf(value) {
	if (typeof value !== "object" || value === null) return true;
	return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, shapeOf(member)]));
}

test("StoreMetrics has the members that metrics() returns, with every group", () => {
	// Nothing is connected to: the first operation would.
	const storage = redisStorage({
		url: "redis://127.0.0.1:1",
		revoke: { waitReplicas: 1 },
		onUnavailable: "database",
		storeSessionInDatabase: true,
	});
	try {
		assert.deepEqual(shapeOf(storage.metrics()), treeOf("StoreMetrics"));
	} finally {
		storage.close();
	}
});

test("a store that is not open has the same groups, without those of its options", () => {
	const { userLooks, ...expected } = treeOf("StoreMetrics");
	const { nearCache, ...others } = JSON.parse(metricsOfUnopenedStore("why"));
	assert.deepEqual(nearCache.reason, "why");
	assert.deepEqual(shapeOf({ nearCache, ...others }), { ...expected, revoke: true, journal: true });
});
