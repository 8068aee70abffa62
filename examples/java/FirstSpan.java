// The drugs of a note: javac -cp biomistral-nlu.jar FirstSpan.java && java -cp biomistral-nlu.jar:jna.jar:. FirstSpan model.gguf
import org.biomistral.nlu.*;

public class FirstSpan {
    public static void main(String[] args) {
        String note = "Started metformin 500 mg; aspirin was stopped.";
        try (Model model = Model.open(args[0]); Session session = model.session(); Schema asked = Schema.of("{\"labels\": [\"drug\"]}")) {
            for (Span s : session.extract(asked, note).spans()) {
                System.out.println(s.label() + "\t" + s.text() + "\t" + s.start() + "-" + s.end());
            }
        }
    }
}
