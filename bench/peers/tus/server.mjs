// The tus server of tus.io's own packages, storing in S3. PORT, BUCKET, ENDPOINT and the AWS keys come by environment.
import { S3Store } from "@tus/s3-store";
import { Server } from "@tus/server";

const { PORT, BUCKET, ENDPOINT, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION } = process.env;
const datastore = new S3Store({
  partSize: 8 * 1024 * 1024,
  s3ClientConfig: {
    bucket: BUCKET,
    endpoint: ENDPOINT,
    region: AWS_DEFAULT_REGION,
    forcePathStyle: true,
    credentials: { accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY },
  },
});
new Server({ path: "/files", datastore, relativeLocation: true }).listen({ host: "127.0.0.1", port: Number(PORT) });
