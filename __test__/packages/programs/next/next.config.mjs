/** @type {import("next").NextConfig} */
export default {
	output: "standalone",
	serverExternalPackages: ["better-auth-redis-store"],
};
