// Lists the Event Log Files of the last logins. Needs nothing but Java 17 or newer: `java Token.java`.
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.regex.Pattern;

public class Token {
    private static final HttpClient HTTP = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();

    public static void main(String[] args) throws Exception {
        var token = get(System.getenv("AQUILA_URL") + "/token", System.getenv("AQUILA_KEY"));
        var query = "SELECT Id, EventType, LogDate, LogFile FROM EventLogFile WHERE EventType = 'Login'";
        var url = field(token, "instance_url") + "/services/data/v60.0/query?q="
            + URLEncoder.encode(query, StandardCharsets.UTF_8);
        System.out.println(get(url, field(token, "access_token")));
    }

    private static String get(String url, String bearer) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(15))
            .header("Authorization", "Bearer " + bearer).build();
        var answer = HTTP.send(request, BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IOException(answer.statusCode() + " " + answer.body());
        }
        return answer.body();
    }

    // The answer is flat; a program of more than one file takes the JSON library that it has anyway.
    private static String field(String json, String name) {
        var found = Pattern.compile("\"" + name + "\":\"([^\"]*)\"").matcher(json);
        if (!found.find()) {
            throw new IllegalStateException("the answer has no " + name);
        }
        return found.group(1);
    }
}
