// A package registry on a loopback port, of the test's own: what `npm publish` sends to it, npm, pnpm and yarn install
// from it. Any other package is not there, so that nothing is installed from elsewhere without a test's saying so.

import { once } from "node:events";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";

export class Registry {
	/** What was published, by name, as a registry tells of it. @type {Map<string, any>} */
	packages = new Map();
	/** @type {string} Holds from `start()` on. */
	url;

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
		if (request.method === "PUT") {
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

function pathOf(name, version) {
	return `${name}/-/${name}-${version}.tgz`;
}
