// docs/options-from-ioredis.md has a row for every option that the types of ioredis 6 and node-redis 6 have, and for no other; and an option
// of theirs that is not there is refused by name.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { redisStorage } from "better-auth-redis-store";
import ts from "typescript";
import { root } from "../../scripts/programs.js";

/** By heading of the page, the type whose members stand below it. */
const TYPES = {
	"## ioredis": ["ioredis-6", "RedisOptions"],
	"### `new Redis.Cluster(nodes, options)`": ["ioredis-6", "ClusterOptions"],
	"## node-redis": ["redis", "RedisClientOptions"],
	"### `socket`": ["redis", 'RedisClientOptions["socket"]'],
	"### `createCluster`": ["redis", "RedisClusterOptions"],
	"### `createSentinel`": ["redis", "RedisSentinelOptions"],
};

/** The names in the first column of the table below a heading. */
function rows(heading) {
	const lines = readFileSync(join(root, "docs/options-from-ioredis.md"), "utf8").split("\n");
	const from = lines.indexOf(heading);
	assert.ok(from >= 0, `no heading ${heading}`);
	const length = lines.slice(from + 1).findIndex((line) => line.startsWith("#"));
	const own = lines.slice(from + 1, length < 0 ? undefined : from + 1 + length).filter((line) => line.startsWith("|"));
	return own.flatMap((line) => [...line.split("|")[1].matchAll(/`([^`]+)`/g)].map(([, name]) => name)).sort();
}

/** The members of the types, as the compiler sees them in node_modules. */
function members() {
	mkdirSync(join(root, "target"), { recursive: true });
	const file = join(root, `target/options-${process.pid}.ts`);
	const source = Object.values(TYPES).map(
		([from, type], at) =>
			`import type * as from${at} from "${from}";\nexport type T${at} = NonNullable<from${at}.${type}>;`,
	);
	writeFileSync(file, source.join("\n"));
	try {
		const program = ts.createProgram({
			rootNames: [file],
			options: {
				strict: true,
				noEmit: true,
				skipLibCheck: true,
				target: ts.ScriptTarget.ES2022,
				module: ts.ModuleKind.ESNext,
				moduleResolution: ts.ModuleResolutionKind.Bundler,
				types: ["node"],
			},
		});
		const problems = ts.getPreEmitDiagnostics(program).map(({ messageText }) => messageText);
		assert.deepEqual(problems, []);
		const checker = program.getTypeChecker();
		const aliases = program.getSourceFile(file).statements.filter(ts.isTypeAliasDeclaration);
		const ofType = (type) => checker.getPropertiesOfType(type).map(({ name }) => name);
		return aliases.map(({ name }) => {
			const type = checker.getTypeAtLocation(name);
			return [...new Set((type.isUnion() ? type.types : [type]).flatMap(ofType))].sort();
		});
	} finally {
		rmSync(file);
	}
}

describe("docs/options-from-ioredis.md", () => {
	let known;
	before(() => {
		known = members();
	});

	for (const [at, [heading, [from, type]]] of Object.entries(TYPES).entries()) {
		test(`${heading}: has a row for each member of ${type} of ${from}, and for nothing else`, () => {
			assert.ok(known[at].length > 10, "the type was not found");
			assert.deepEqual(rows(heading), known[at]);
		});
	}

	test("every option of ioredis and node-redis is accepted or refused by name", () => {
		const taken = [];
		for (const name of new Set(known.flat())) {
			try {
				redisStorage({ url: "redis://localhost", [name]: Symbol("no value of any option") });
				assert.fail(`${name} is passed over`);
			} catch (error) {
				assert.equal(error.code, "INVALID_ARGUMENT", `${name}: ${error.message}`);
				assert.ok(error.message.includes(name.slice(0, 40)), error.message);
				if (!error.message.startsWith("unknown option")) taken.push(name);
			}
		}
		assert.ok(taken.length > 20);
	});
});
