// Takes the native loader's place where a bundler of React server components would bundle it (package.json, "imports"): what would follow
// there are errors that do not tell what to do. As CommonJS, because no bundler can know what it exports.

module.exports = refuse();

function refuse() {
	throw new Error(
		"better-auth-redis-store was bundled, and a native addon cannot be: Node.js must load it from node_modules. In next.config:\n\n" +
			'  import { withRedisStore } from "better-auth-redis-store/next";\n' +
			"  export default withRedisStore(nextConfig);\n",
	);
}
