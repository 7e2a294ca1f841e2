"""Content Credentials (C2PA): what signs answers by the operator's certificate, and what signatures of files say."""
