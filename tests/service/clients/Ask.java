import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;

/** The JDK's own client: `java Ask.java URL BODY ROWS` ends with 0 where every answer is the bytes of the file ROWS. */
public class Ask {
    private static byte[] rows;

    public static void main(String[] arguments) throws Exception {
        URI uri = URI.create(arguments[0]);
        Path body = Path.of(arguments[1]);
        rows = Files.readAllBytes(Path.of(arguments[2]));
        HttpRequest request = request(uri).POST(HttpRequest.BodyPublishers.ofFile(body)).build();
        // It does not say its length: the body goes in chunks.
        byte[] content = Files.readAllBytes(body);
        HttpRequest chunked = request(uri)
            .POST(HttpRequest.BodyPublishers.ofByteArrays(List.of(
                Arrays.copyOf(content, 10), Arrays.copyOfRange(content, 10, content.length))))
            .build();
        HttpRequest expecting = request(uri).expectContinue(true).POST(HttpRequest.BodyPublishers.ofFile(body)).build();

        // All defaults: HTTP/2 is offered until it is taken.
        HttpClient client = HttpClient.newHttpClient();
        for (int k = 0; k < 3; k++) {
            check("all defaults", client.send(request, HttpResponse.BodyHandlers.ofByteArray()));
        }
        check("all defaults, in chunks", client.send(chunked, HttpResponse.BodyHandlers.ofByteArray()));

        HttpClient plain = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        check("HTTP/1.1", plain.send(request, HttpResponse.BodyHandlers.ofByteArray()));
        check("HTTP/1.1, in chunks", plain.send(chunked, HttpResponse.BodyHandlers.ofByteArray()));
        check("HTTP/1.1, Expect", plain.send(expecting, HttpResponse.BodyHandlers.ofByteArray()));

        List<CompletableFuture<Void>> many = IntStream.range(0, 16)
            .mapToObj(k -> client.sendAsync(request, HttpResponse.BodyHandlers.ofByteArray())
                .thenAccept(answer -> check("at once", answer)))
            .toList();
        many.forEach(CompletableFuture::join);
    }

    private static HttpRequest.Builder request(URI uri) {
        return HttpRequest.newBuilder(uri)
            .header("Content-Type", "application/json")
            .header("Accept", "application/octet-stream");
    }

    private static void check(String what, HttpResponse<byte[]> answer) {
        if (answer.statusCode() != 200 || !Arrays.equals(answer.body(), rows)) {
            throw new IllegalStateException(what + ": " + answer.statusCode() + ", " + answer.body().length
                + " bytes that are not the " + rows.length + " rows' own");
        }
    }
}
