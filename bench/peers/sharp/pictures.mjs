// The pictures of each file of a list, by sharp: decoded once, a preview and a thumbnail as WebP. Prints CPU seconds.
import { readFileSync } from "node:fs";
import sharp from "sharp";

sharp.concurrency(1);
sharp.cache(false);
const [list, folder] = process.argv.slice(2);
const files = JSON.parse(readFileSync(list, "utf8"));
const inside = { fit: "inside", withoutEnlargement: true };

async function pictures(file) {
  const upright = sharp(file, { failOn: "error", limitInputPixels: false }).rotate();
  const { data, info } = await upright.resize(1600, 1600, inside).raw().toBuffer({ resolveWithObject: true });
  const raw = { raw: { width: info.width, height: info.height, channels: info.channels } };
  await sharp(data, raw).webp({ quality: 80, effort: 2 }).toFile(`${folder}/preview.webp`);
  await sharp(data, raw).resize(400, 400, inside).webp({ quality: 75, effort: 2 }).toFile(`${folder}/thumbnail.webp`);
}

await pictures(files[0]);
const before = process.cpuUsage();
const began = performance.now();
for (const file of files) await pictures(file);
const used = process.cpuUsage(before);
console.log(JSON.stringify({ cpu_s: (used.user + used.system) / 1e6, wall_s: (performance.now() - began) / 1e3 }));
