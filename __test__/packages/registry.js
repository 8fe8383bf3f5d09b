// A package registry on a loopback port, of the test's own: what `npm publish` sends to it, npm, pnpm and yarn install
// from it. Any other package is not there, so that nothing is installed from elsewhere without a test's saying so.

import { once } from "node:events";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";

const IDENTITY = "-/identity";
const EXCHANGE = /^-\/npm\/v1\/oidc\/token\/exchange\/package\/(.+)$/;

export class Registry {
	/** What was published, by name, as a registry tells of it. @type {Map<string, any>} */
	packages = new Map();
	/** @type {string} Holds from `start()` on. */
	url;
	/** Each package that npm got a login for by trusted publishing, with that login's token. @type {Map<string, string>} */
	trusted = new Map();

	/** Compressed packages by their path. @type {Map<string, Buffer>} */
	#tarballs = new Map();
	#upstream;
	#server = createServer((request, response) => {
		this.#answer(request, response).catch((error) => response.writeHead(500).end(error.stack));
	});

	/** @param {{ upstream?: string }} [options] `upstream`: the registry that has everything else */
	constructor({ upstream } = {}) {
		this.#upstream = upstream;
	}

	async start() {
		this.#server.listen(0, "127.0.0.1");
		await once(this.#server, "listening");
		this.url = `http://127.0.0.1:${this.#server.address().port}/`;
		return this;
	}

	async stop() {
		this.#server.close();
		this.#server.closeAllConnections();
		await once(this.#server, "close");
	}

	async #answer(request, response) {
		const path = decodeURIComponent(new URL(request.url, this.url).pathname).slice(1);
		const login = this.#login(request.method, path);
		if (login) return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(login));
		if (request.method === "PUT") {
			const token = this.trusted.get(path);
			if (token && request.headers.authorization !== `Bearer ${token}`) return response.writeHead(401).end();
			this.#publish(await json(request));
			return response.writeHead(201, { "content-type": "application/json" }).end("{}");
		}
		const tarball = this.#tarballs.get(path);
		if (tarball) return response.writeHead(200, { "content-type": "application/octet-stream" }).end(tarball);
		const document = this.#document(path);
		if (document) {
			return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(document));
		}
		if (this.#upstream)
			return response.writeHead(302, { location: new URL(request.url.slice(1), this.#upstream) }).end();
		response.writeHead(404, { "content-type": "application/json" }).end('{"error":"not found"}');
	}

	/** What GitHub answers to a workflow that asks who it is, and what npm's registry gives for that answer. */
	#login(method, path) {
		if (path === IDENTITY) return { value: [{}, { repository_visibility: "private" }, {}].map(inBase64).join(".") };
		const [, name] = (method === "POST" && path.match(EXCHANGE)) || [];
		if (name === undefined) return undefined;
		const token = `login for ${name}`;
		this.trusted.set(name, token);
		return { token };
	}

	/** What a job of a workflow has in its environment when it may say who it is (`id-token: write`). */
	get workflowEnv() {
		return {
			GITHUB_ACTIONS: "true",
			ACTIONS_ID_TOKEN_REQUEST_URL: `${this.url}${IDENTITY}`,
			ACTIONS_ID_TOKEN_REQUEST_TOKEN: "of the job",
		};
	}

	/** `name`: all about a package; `name/version` or `name/tag`: one version's manifest. */
	#document(path) {
		const [name, version] = path.split("/");
		const document = this.packages.get(name);
		if (version === undefined) return document;
		return document?.versions[document["dist-tags"][version] ?? version];
	}

	/** Takes the body of npm's request: the versions' manifests, and the compressed packages in Base64. */
	#publish({ name, versions, "dist-tags": tags, _attachments: attachments }) {
		const known = this.packages.get(name) ?? { name, versions: {}, "dist-tags": {}, time: {} };
		for (const [version, manifest] of Object.entries(versions)) {
			const path = pathOf(name, version);
			const [attachment] = Object.values(attachments);
			this.#tarballs.set(path, Buffer.from(attachment.data, "base64"));
			manifest.dist.tarball = `${this.url}${path}`;
			known.versions[version] = manifest;
			known.time[version] = new Date().toISOString();
		}
		Object.assign(known["dist-tags"], tags);
		this.packages.set(name, known);
	}

	/**
	 * The compressed package of a name's latest version.
	 * @param {string} name
	 */
	tarball(name) {
		return this.#tarballs.get(pathOf(name, this.packages.get(name)["dist-tags"].latest));
	}
}

function inBase64(value) {
	return Buffer.from(JSON.stringify(value)).toString("base64");
}

function pathOf(name, version) {
	return `${name}/-/${name}-${version}.tgz`;
}
